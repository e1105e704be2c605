/** `weft kubeconfig`: where the registry's kubeconfig is, or its content. */
import { existsSync, readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { MeshError } from '../../base/index.ts'
import { type CommandContext, pathsOf } from '../context.ts'

export function addKubeconfig(program: Command, context: CommandContext): void {
  program
    .command('kubeconfig')
    .description('print the path of the kubeconfig, for KUBECONFIG')
    .option('--name <mesh>', 'name of the mesh', 'default')
    .option('--content', 'print the file itself, for a tool that reads it from a pipe')
    .addHelpText(
      'after',
      '\nExample:\n  export KUBECONFIG=$(weft kubeconfig)\n  kubectl get pods -A',
    )
    .action(({ name, content }: { name: string; content?: boolean }) => {
      const path = pathsOf(context, name).kubeconfig
      if (!existsSync(path)) throw noMesh(name)
      context.terminal.out(content === true ? readFileSync(path, 'utf8') : `${path}\n`)
    })
}

export function noMesh(name: string): MeshError {
  const flag = name === 'default' ? '' : ` --name ${name}`
  return new MeshError('CLI_NO_MESH', `there is no mesh "${name}" here`, {
    hint: `Start it with: weft up${flag}`,
  })
}
