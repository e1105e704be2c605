/** The embedded Kubernetes-compatible API server. */
export type {
  ExecOptions,
  ExecSession,
  LogOptions,
  PodBackend,
  PodReference,
} from './backend.ts'
export { createRegistry, type Registry, type RegistryOptions } from './registry.ts'
