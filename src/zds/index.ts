/** ZDS: how the node agent hands pods and their network namespaces to the node proxy. */
export { ZdsClient, type ZdsClientOptions } from './client.ts'
export * from './codec.ts'
export { limits as zdsLimits } from './limits.ts'
export { ZdsServer, type ZdsServerOptions } from './server.ts'
export * from './types.ts'
