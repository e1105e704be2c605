/** The Kubernetes client: verbs, watches, informers, work queues, configuration. */
export * from './client.ts'
export * from './config.ts'
export * from './informer.ts'
export * from './leader-elector.ts'
export * from './queue.ts'
export type { ClientCertificate } from './transport.ts'
export * from './types.ts'
