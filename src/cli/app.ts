/** The command line: commands in the order of a user's tasks, errors with the next step, exit codes for scripts. */
import { Command, CommanderError } from 'commander'
import { MeshError } from '../base/index.ts'
import { addCompletion } from './commands/completion.ts'
import { addDown } from './commands/down.ts'
import { addKubeconfig } from './commands/kubeconfig.ts'
import { addKubectl } from './commands/kubectl.ts'
import { addLogs } from './commands/logs.ts'
import { addRegistry } from './commands/registry.ts'
import { addRun } from './commands/run.ts'
import { addStatus } from './commands/status.ts'
import { addTools } from './commands/tools.ts'
import { addUp } from './commands/up.ts'
import { addVersion } from './commands/version.ts'
import { addWaypoint } from './commands/waypoint.ts'
import type { CommandContext } from './context.ts'
import { exitCodes } from './exit-codes.ts'
import { formatError } from './output.ts'

const examples = `
First steps:
  weft up                                a mesh with the Bookinfo application in it
  weft status                            what runs
  weft run --port 8080 -- ./server       your own program, as a pod of the mesh
  weft kubectl get pods -A               the pinned kubectl
  weft down                              stop it; objects are kept

Every command has more with --help.`

export function createProgram(context: CommandContext): Command {
  const program = new Command('weft')
    .description("A service mesh that speaks Istio's API, on one machine or on Kubernetes.")
    .version(context.version, '-V, --version', 'print the version of this program')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
    .showSuggestionAfterError()
    .addHelpText('after', examples)
  if (context.platform !== 'linux') {
    program.addHelpText(
      'before',
      `Meshes run on Linux only; on ${context.platform} the commands that need no mesh work.\n`,
    )
  }
  addUp(program, context)
  addStatus(program, context)
  addKubeconfig(program, context)
  addKubectl(program, context)
  addLogs(program, context)
  addRun(program, context)
  addWaypoint(program, context)
  addDown(program, context)
  addRegistry(program, context)
  addTools(program, context)
  addVersion(program, context)
  addCompletion(program, context)
  for (const command of program.commands) command.exitOverride()
  return program
}

/** Runs one command line; never throws. */
export async function main(args: readonly string[], context: CommandContext): Promise<void> {
  try {
    await createProgram(context).parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed its text already; help and version are no failures.
      context.setExitCode(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage)
      return
    }
    context.terminal.err(formatError(error))
    context.setExitCode(exitCodeOf(error))
  }
}

function exitCodeOf(error: unknown): number {
  if (!(error instanceof MeshError)) return exitCodes.failed
  if (error.code.includes('PREREQUISITES')) return exitCodes.prerequisites
  if (error.code === 'CLI_NO_PROGRAM') return exitCodes.noProgram
  return ['CLI_FLAGS', 'CLI_MOUNT', 'STATE_NAME'].includes(error.code)
    ? exitCodes.usage
    : exitCodes.failed
}
