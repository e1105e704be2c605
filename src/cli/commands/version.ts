/** `weft version`: of this program, and of the registry when a mesh runs. */
import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { addNameOption, type CommandContext, pathsOf, registryClient } from '../context.ts'
import { formatStructured } from '../output.ts'

export function addVersion(program: Command, context: CommandContext): void {
  const command = program
    .command('version')
    .description('print the version of the client, and of the mesh when it runs')
  addNameOption(command, context)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['json', 'yaml']))
    .action(async ({ name, output }: { name: string; output?: 'json' | 'yaml' }) => {
      const client = { version: context.version, node: process.version, platform: context.platform }
      const server = await serverVersion(context, name)
      const answer = {
        clientVersion: client,
        ...(server === undefined ? {} : { meshVersion: server }),
      }
      if (output !== undefined) return context.terminal.out(formatStructured(answer, output))
      context.terminal.out(`client version: ${context.version}\n`)
      if (server !== undefined)
        context.terminal.out(`mesh version: ${server.gitVersion} (Kubernetes API)\n`)
    })
}

async function serverVersion(
  context: CommandContext,
  name: string,
): Promise<{ gitVersion: string } | undefined> {
  if (!existsSync(pathsOf(context, name).kubeconfig)) return undefined
  const client = registryClient(context, name)
  try {
    const answer = await client.raw('GET', '/version')
    return JSON.parse(answer.body.toString()) as { gitVersion: string }
  } catch {
    // Down: the client's own version is answer enough.
    return undefined
  } finally {
    client.close()
  }
}
