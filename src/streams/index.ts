/** Byte streams inside other protocols: SPDY/3.1 frames, and the channel dialects of Kubernetes. */

export * from './channel-port-forward.ts'
export * from './channels.ts'
export * from './command.ts'
export * from './limits.ts'
export * from './port-forward.ts'
export {
  decodeProxyHeader,
  encodeProxyHeader,
  type ProxyAddress,
  type ProxyDecoding,
  type ProxyHeader,
} from './proxy-protocol.ts'
export * from './spdy-command.ts'
export * from './spdy-connection.ts'
export { type SpdyFrame, SpdyFrameReader } from './spdy-frames.ts'
export * from './spdy-upgrade.ts'
export { acceptWebSocket, chooseProtocol, webSocketStream } from './websocket.ts'
