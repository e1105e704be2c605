/** The OS surface that the mesh needs and Node lacks; the only room that uses the FFI. */
export { SystemCallError } from './errors.ts'
export { bindMount, type MountOptions, mount, unmount } from './mounts.ts'
export {
  closeFd,
  createNetns,
  currentNetns,
  dupFd,
  inodeOf,
  openNetns,
  removeNetns,
  withNetns,
} from './netns.ts'
export {
  reap,
  setChildSubreaper,
  setDumpable,
  setParentDeathSignal,
  waitAnyChild,
} from './process.ts'
export { openPty, type PseudoTerminal, setTerminalSize } from './pty.ts'
export { connectSeqPacket, listenSeqPacket, type SeqPacketOptions } from './seqpacket.ts'
export {
  type ConnectOptions,
  connectTcp,
  listenTcp,
  stopReceiving,
  tcpSocket,
  udpSocket,
} from './sockets.ts'
export {
  fdOf,
  isDisconnected,
  localAddress,
  originalDestination,
  peerCredentials,
  setMark,
} from './sockopts.ts'
export {
  findTool,
  type IpBatchOptions,
  ipBatch,
  runRules,
  runTool,
  type ToolResult,
  type ToolRun,
} from './tools.ts'
export * from './types.ts'
