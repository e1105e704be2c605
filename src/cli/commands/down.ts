/** `weft down`: stops the mesh and everything in it. */

import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { stateHome, stopMesh } from '../../standalone/index.ts'
import { addNameOption, type CommandContext, nameFlag, pathsOf } from '../context.ts'
import { formatStructured, ProgressPrinter } from '../output.ts'

export function addDown(program: Command, context: CommandContext): void {
  const command = program
    .command('down')
    .description('stop the mesh: no process, namespace, rule or socket is left; objects are kept')
  addNameOption(command, context)
    .option('--purge', 'remove its objects, certificates and logs as well')
    .addOption(new Option('-o, --output <format>', 'print the result as').choices(['json', 'yaml']))
    .addHelpText('after', '\nExamples:\n  weft down\n  weft down --purge')
    .action(async (options: { name: string; purge?: boolean; output?: 'json' | 'yaml' }) => {
      const progress = new ProgressPrinter(context.terminal)
      progress.begin('stopping')
      const purge = options.purge === true
      const home = stateHome(context.environment)
      const stateDirectory = pathsOf(context, options.name).root
      const existed = existsSync(stateDirectory)
      const wasRunning = await stopMesh({ name: options.name, purge, stateHome: home })
      progress.done(wasRunning ? 'stopped' : 'nothing was running')
      progress.end()
      if (options.output !== undefined) {
        context.terminal.out(
          formatStructured(
            { name: options.name, wasRunning, stateDirectory, purged: purge },
            options.output,
          ),
        )
      } else if (!existed) context.terminal.out(`There is nothing in ${stateDirectory}.\n`)
      else if (purge) context.terminal.out(`Removed ${stateDirectory}.\n`)
      else
        context.terminal.out(
          `The objects are kept in ${stateDirectory}; weft up${nameFlag(options.name)} brings them back.\n`,
        )
    })
}
