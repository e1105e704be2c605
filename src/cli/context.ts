/** What every command gets, so that tests can run commands without a process of their own. */

import type { Command } from 'commander'
import type { Clock } from '../base/index.ts'
import { type ClosableKubeClient, createKubeClient, kubeconfigOptions } from '../client/index.ts'
import { type MeshPaths, meshPaths, stateHome } from '../standalone/index.ts'
import type { Terminal } from './output.ts'

export interface CommandContext {
  readonly terminal: Terminal
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly platform: NodeJS.Platform
  /** The checkout or installation: where samples and tools are. */
  readonly root: string
  readonly version: string
  /** Set by a command that ends with something other than 0. */
  setExitCode(code: number): void
}

/** `--name`, which the variable WEFT_NAME sets for a whole shell. */
export function addNameOption(command: Command, context: CommandContext): Command {
  return command.option(
    '--name <mesh>',
    'name of the mesh (or the variable WEFT_NAME)',
    context.environment.WEFT_NAME ?? 'default',
  )
}

/** The flag that names this mesh in a command line which we propose. */
export function nameFlag(name: string): string {
  return name === 'default' ? '' : ` --name ${name}`
}

export function pathsOf(context: CommandContext, name: string): MeshPaths {
  return meshPaths(stateHome(context.environment), name)
}

/** A client of the mesh's registry, as its administrator. Close it when done. */
export function registryClient(context: CommandContext, name: string): ClosableKubeClient {
  return createKubeClient(kubeconfigOptions(pathsOf(context, name).kubeconfig, context.clock))
}
