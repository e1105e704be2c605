/** `weft kubectl`: the pinned kubectl, pointed at the mesh. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { addNameOption, type CommandContext, pathsOf } from '../context.ts'
import { kubectlPath } from '../kubectl-tool.ts'
import { noMesh } from './kubeconfig.ts'

export function addKubectl(program: Command, context: CommandContext): void {
  const command = program
    .command('kubectl')
    .description('run the pinned kubectl against the mesh (fetched on first use)')
    .argument('[args...]', 'arguments of kubectl')
  addNameOption(command, context)
    .allowUnknownOption()
    .passThroughOptions()
    .helpOption(false)
    .addHelpText(
      'after',
      '\nExamples:\n  weft kubectl get pods -A\n  weft kubectl -n bookinfo logs deploy/details-v1\n  weft kubectl --name two get pods      (--name comes first)',
    )
    .action(async (args: string[], { name }: { name: string }) => {
      const { kubeconfig } = pathsOf(context, name)
      if (!existsSync(kubeconfig) && !isHelp(args)) throw noMesh(context, name)
      const program = await kubectlPath('1.35', {
        onFetch: (what) => context.terminal.err(`fetching ${what} ...\n`),
      })
      const child = spawn(program, args, {
        stdio: 'inherit',
        env: { ...context.environment, KUBECONFIG: kubeconfig },
      })
      // The child gets the terminal's signals itself; we only wait for its end.
      const ignore = (): void => {}
      const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
      process.on('SIGINT', ignore)
      process.on('SIGTERM', pass)
      process.on('SIGHUP', pass)
      const code = await new Promise<number>((resolve, reject) => {
        child.once('error', reject)
        child.once('close', (status, signal) => resolve(status ?? (signal === 'SIGINT' ? 130 : 1)))
      })
      process.off('SIGINT', ignore)
      process.off('SIGTERM', pass)
      process.off('SIGHUP', pass)
      context.setExitCode(code)
    })
}

/** What kubectl answers without a mesh. */
function isHelp(args: readonly string[]): boolean {
  const [first = 'help'] = args
  return (
    ['help', 'completion', 'options'].includes(first) ||
    args.includes('--help') ||
    args.includes('-h')
  )
}
