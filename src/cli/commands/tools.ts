/** `weft tools`: programs of others that parts of a mesh use, pinned, fetched once and kept beside Weft. */
import { Argument, type Command } from 'commander'
import type { CommandContext } from '../context.ts'
import { envoyPath } from '../envoy-tool.ts'
import { helmPath, kubectlPath, type ToolOptions } from '../kubectl-tool.ts'

const tools: Readonly<Record<string, (options: ToolOptions) => Promise<string>>> = {
  envoy: envoyPath,
  kubectl: (options) => kubectlPath('1.35', options),
  helm: (options) => helmPath('1.35', options),
}

export function addTools(program: Command, context: CommandContext): void {
  program
    .command('tools')
    .description('fetch a program that Weft works with, and print where it is')
    .addArgument(new Argument('<tool>', 'which one').choices(Object.keys(tools)))
    .addHelpText(
      'after',
      '\nExamples:\n  weft tools envoy              what waypoints run on; their pods find it when they start\n  $(weft tools helm) version',
    )
    .action(async (name: string) => {
      const path = await tools[name]?.({
        onFetch: (what) => context.terminal.err(`fetching ${what} ...\n`),
      })
      context.terminal.out(`${path}\n`)
    })
}
