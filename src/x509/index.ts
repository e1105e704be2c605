/** Certificates, requests and keys: reading and writing them, SPIFFE ids; knows nothing of a mesh. */
export * from './certificate.ts'
export * from './crl.ts'
export * from './csr.ts'
export * from './issue.ts'
export * from './keys.ts'
export * from './pem.ts'
export * from './spiffe.ts'
