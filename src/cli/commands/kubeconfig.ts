/** `weft kubeconfig`: where the registry's kubeconfig is, or its content. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { MeshError } from '../../base/index.ts'
import { stateHome } from '../../standalone/index.ts'
import { addNameOption, type CommandContext, nameFlag, pathsOf } from '../context.ts'

export function addKubeconfig(program: Command, context: CommandContext): void {
  const command = program
    .command('kubeconfig')
    .description('print the path of the kubeconfig, for KUBECONFIG')
  addNameOption(command, context)
    .option('--content', 'print the file itself, for a tool that reads it from a pipe')
    .addHelpText(
      'after',
      '\nExample:\n  export KUBECONFIG=$(weft kubeconfig)\n  kubectl get pods -A',
    )
    .action(({ name, content }: { name: string; content?: boolean }) => {
      const path = pathsOf(context, name).kubeconfig
      if (!existsSync(path)) throw noMesh(context, name)
      context.terminal.out(content === true ? readFileSync(path, 'utf8') : `${path}\n`)
    })
}

/** There is no mesh of that name; what there is instead, and how to make one. */
export function noMesh(context: CommandContext, name: string): MeshError {
  const others = meshNames(context)
  const known = others.length === 0 ? '' : `There is: ${others.join(', ')} (--name). `
  return new MeshError('CLI_NO_MESH', `there is no mesh "${name}" here`, {
    hint: `${known}Start it with: weft up${nameFlag(name)}`,
  })
}

/** It is there, but nothing of it runs. */
export function notRunning(name: string): MeshError {
  return new MeshError('CLI_NOT_RUNNING', `the mesh "${name}" does not run`, {
    hint: `Start it with: weft up${nameFlag(name)}`,
  })
}

function meshNames(context: CommandContext): string[] {
  try {
    const home = stateHome(context.environment)
    return readdirSync(home).filter((name) => existsSync(join(home, name, 'format')))
  } catch {
    // No state yet.
    return []
  }
}
