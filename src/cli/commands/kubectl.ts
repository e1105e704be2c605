/** `weft kubectl`: the pinned kubectl, pointed at the mesh. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { type CommandContext, pathsOf } from '../context.ts'
import { kubectlPath } from '../kubectl-tool.ts'
import { noMesh } from './kubeconfig.ts'

export function addKubectl(program: Command, context: CommandContext): void {
  program
    .command('kubectl')
    .description('run the pinned kubectl against the mesh (fetched on first use)')
    .argument('[args...]', 'arguments of kubectl')
    .option('--name <mesh>', 'name of the mesh', context.environment.WEFT_NAME ?? 'default')
    .allowUnknownOption()
    .passThroughOptions()
    .helpOption(false)
    .addHelpText('after', '\nExample:\n  weft kubectl get pods -A')
    .action(async (args: string[], { name }: { name: string }) => {
      const { kubeconfig } = pathsOf(context, name)
      if (!existsSync(kubeconfig)) throw noMesh(name)
      const program = await kubectlPath('1.35', {
        onFetch: (what) => context.terminal.err(`fetching ${what} ...\n`),
      })
      const child = spawn(program, args, {
        stdio: 'inherit',
        env: { ...context.environment, KUBECONFIG: kubeconfig },
      })
      // The child gets the terminal's signals itself; we only wait for its end.
      const ignore = (): void => {}
      process.on('SIGINT', ignore)
      const code = await new Promise<number>((resolve, reject) => {
        child.once('error', reject)
        child.once('close', (status, signal) => resolve(status ?? (signal === 'SIGINT' ? 130 : 1)))
      })
      process.off('SIGINT', ignore)
      context.setExitCode(code)
    })
}
