/** The mesh's certificate authority, its gRPC service, who may call it, and its root in every namespace. */
export * from './authenticator.ts'
export * from './authority.ts'
export * from './distribution.ts'
export type { CaMetrics } from './metrics.ts'
export * from './pods.ts'
export * from './service.ts'
export * from './serving.ts'
