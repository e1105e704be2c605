/** Byte streams inside other protocols: SPDY/3.1 frames, and the channel dialects of Kubernetes. */
export * from './channels.ts'
export * from './limits.ts'
export * from './port-forward.ts'
export * from './spdy-connection.ts'
export { type SpdyFrame, SpdyFrameReader } from './spdy-frames.ts'
export * from './websocket.ts'
