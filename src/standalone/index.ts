/** A whole mesh on one machine: start, status, stop, and what the machine lacks for it. */
export {
  defineImage,
  forgetImage,
  type MeshAddress,
  type MeshHandle,
  meshStatus,
  prerequisitesError,
  type StartOptions,
  type StopOptions,
  startMesh,
  stopMesh,
} from './broker/launch.ts'
export { checkPrerequisites, type Problem } from './broker/prerequisites.ts'
export type { MeshStatus, ProgressEvent } from './broker/protocol.ts'
export type { ImageMapping, ImageMount } from './images/index.ts'
export { sampleNames } from './init/samples.ts'
export { loopbackPortsAnnotation } from './network/load-balancer.ts'
export { openStateDirectory } from './state/directory.ts'
export { type MeshPaths, meshPaths, stateHome } from './state/paths.ts'
