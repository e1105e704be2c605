/**
 * HBONE: TCP through HTTP/2 CONNECT. Connections come in ready made (TLS is the caller's), so the
 * room knows nothing of identities or of a mesh.
 */
export { type Authority, formatHostPort, parseAuthority } from './authority.ts'
export {
  type Baggage,
  type BaggageWorkloadType,
  encodeBaggage,
  parseBaggage,
} from './baggage.ts'
export type { HboneStream } from './client-connection.ts'
export { HboneRefusedError } from './errors.ts'
export { formatForwarded, formatTraceparent } from './headers.ts'
export { type Http2Limits, http2Limits } from './limits.ts'
export { HboneClientPool, type HboneConnectOptions, type HbonePoolOptions } from './pool.ts'
export { type RelayEnd, type RelayOptions, relay, reset } from './relay.ts'
export { resetStream } from './reset.ts'
export {
  type HboneRequest,
  type HboneServerConnection,
  type HboneServerOptions,
  type HboneServerStream,
  serveHbone,
} from './server.ts'
