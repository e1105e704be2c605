/** `weft registry backup|restore`: the objects of a mesh as one file, and back. */
import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { MeshError, toError } from '../../base/index.ts'
import type { BackupInfo } from '../../registry/index.ts'
import { openStateDirectory } from '../../standalone/index.ts'
import {
  addNameOption,
  type CommandContext,
  nameFlag,
  pathsOf,
  registryClient,
} from '../context.ts'
import { formatStructured } from '../output.ts'
import { noMesh } from './kubeconfig.ts'

/** Only these commands need the whole API server, and every other one would start later for it. */
const registryRoom = () => import('../../registry/index.ts')

interface Options {
  readonly name: string
  readonly force?: boolean
  readonly output?: 'json' | 'yaml'
}

export function addRegistry(program: Command, context: CommandContext): void {
  const registry = program
    .command('registry')
    .description('back up and restore the objects of a mesh')
    .addHelpText('after', examples)
  const backup = registry
    .command('backup')
    .description('write all objects to a file; the mesh may run or be stopped')
    .argument('<file>', 'the file to write')
  addNameOption(backup, context)
    .option('--force', 'replace the file when it exists')
    .addOption(outputOption())
    .addHelpText('after', examples)
    .action((file: string, options: Options) => backUp(context, resolve(file), options))
  const restore = registry
    .command('restore')
    .description(
      'replace all objects of a stopped mesh by those of a backup; the old ones are kept aside',
    )
    .argument('<file>', 'a file that "weft registry backup" made')
  addNameOption(restore, context)
    .addOption(outputOption())
    .addHelpText('after', examples)
    .action((file: string, options: Options) => putBack(context, resolve(file), options))
  for (const command of registry.commands) command.exitOverride()
}

const examples = `
Examples:
  weft registry backup before-upgrade.db
  weft registry backup -o json nightly.db
  weft down && weft registry restore before-upgrade.db && weft up
  weft registry restore --name copy before-upgrade.db    into another mesh

A backup holds the objects, Secrets among them: keep it as private as the mesh. It doesn't hold the
mesh's certificates and logs. Programs that watch objects list them again after a restore.`

function outputOption(): Option {
  return new Option('-o, --output <format>', 'print the result as').choices(['json', 'yaml'])
}

async function backUp(context: CommandContext, file: string, options: Options): Promise<void> {
  const paths = pathsOf(context, options.name)
  if (!existsSync(paths.registryDatabase)) throw noMesh(context, options.name)
  if (existsSync(file) && options.force !== true) {
    throw new MeshError('CLI_FILE_EXISTS', `${file} exists already`, {
      hint: 'Choose another name, or replace it with --force.',
    })
  }
  const partial = `${file}.partial`
  let info: BackupInfo
  try {
    // Empty and private before there is a secret in it.
    rmSync(partial, { force: true })
    closeSync(openSync(partial, 'wx', 0o600))
    info = await takeBackup(context, options.name, partial)
    renameSync(partial, file)
  } catch (error) {
    rmSync(partial, { force: true })
    throw error instanceof MeshError ? error : unwritable(file, error)
  }
  report(context, options, { ...info, path: file }, [
    `Wrote ${info.objects} objects (${size(info.bytes)}, version ${info.revision}) to ${file}.`,
  ])
}

/** Takes it from the database itself, or asks the registry when one runs. */
async function takeBackup(
  context: CommandContext,
  name: string,
  file: string,
): Promise<BackupInfo> {
  const { backupDatabase, backupPath, inspectBackup } = await registryRoom()
  try {
    return backupDatabase(pathsOf(context, name).registryDatabase, file)
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'REGISTRY_LOCKED') throw error
  }
  await download(context, { name, path: backupPath, file })
  return inspectBackup(file)
}

/** Asks the running registry, as its administrator. */
async function download(
  context: CommandContext,
  request: { readonly name: string; readonly path: string; readonly file: string },
): Promise<void> {
  const client = registryClient(context, request.name)
  const target = openSync(request.file, 'w')
  try {
    await client.stream(request.path, (chunk) => void writeSync(target, chunk))
  } finally {
    closeSync(target)
    client.close()
  }
}

async function putBack(context: CommandContext, file: string, options: Options): Promise<void> {
  const { inspectBackup, restoreDatabase } = await registryRoom()
  const paths = pathsOf(context, options.name)
  // Before the directory is made, so that a wrong file leaves nothing behind.
  inspectBackup(file)
  openStateDirectory(paths)
  const time = new Date(context.clock.now()).toISOString().replaceAll(/[:.]/g, '-')
  const restored = restoreDatabase(file, paths.registryDatabase, `before-restore-${time}`)
  const lines = [`Restored ${restored.objects} objects (version ${restored.revision}).`]
  if (restored.kept !== undefined)
    lines.push(`The objects from before are kept in ${restored.kept}.`)
  lines.push(`Start the mesh with: weft up${nameFlag(options.name)}`)
  report(context, options, { ...restored, database: paths.registryDatabase }, lines)
}

function report(
  context: CommandContext,
  options: Options,
  result: object,
  lines: readonly string[],
): void {
  const { output } = options
  if (output !== undefined) context.terminal.out(formatStructured(result, output))
  else context.terminal.out(lines.map((line) => `${line}\n`).join(''))
}

function size(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1_000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

function unwritable(file: string, error: unknown): MeshError {
  return new MeshError('CLI_FILE', `can't write ${file}: ${toError(error).message}`, {
    hint: 'Is the folder there, yours to write, and not full?',
    cause: error,
  })
}
