/** The control plane: configuration, certificates, gateways. */
export { ControlPlane, type ControlPlaneOptions } from './app.ts'
export { type ControlPlaneConfig, readConfig } from './config.ts'
export { MeshSource } from './source.ts'
