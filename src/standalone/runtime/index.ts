/** The runtime that runs pods as isolated processes: the kubelet of standalone mode. */

import { ProcessLauncher } from './process-launcher.ts'
import { PodRuntime, type PodRuntimeOptions } from './runtime.ts'

export { RuntimeBackend } from './backend.ts'
export type { BuiltinRunner, BuiltinRunners } from './builtin.ts'
export type { ContainerLauncher } from './launcher.ts'
export type { PodNetwork, PodNetworkRequest, PodSandbox } from './network.ts'
export { PodRuntime, type PodRuntimeOptions } from './runtime.ts'

export type RuntimeOptions = Omit<PodRuntimeOptions, 'launcher'>

/** The runtime with real processes. `start` needs the registry and the pod network to work. */
export function createRuntime(options: RuntimeOptions): PodRuntime {
  return new PodRuntime({ ...options, launcher: new ProcessLauncher({ runDir: options.runDir }) })
}
