/** Workload certificates of the data plane: fetching, renewing, and TLS with identities checked. */
export * from './ca-client.ts'
export * from './manager.ts'
export * from './revocations.ts'
export * from './tls.ts'
export * from './types.ts'
