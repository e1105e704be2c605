/**
 * The system's own tools (ip, nft, iptables-restore): found where they are, run inside a network
 * namespace with their input on stdin, and their complaints turned into errors. The namespace is
 * entered by the spawning thread, which the child inherits; so no `nsenter` is needed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MeshError, toError } from '../base/index.ts'
import { limits } from './limits.ts'
import { withNetns } from './netns.ts'

const systemFolders = [
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
  '/usr/local/sbin',
  '/usr/local/bin',
]

/** The path of an executable: `extraDirs` first, then PATH, then where systems keep such tools. */
export function findTool(
  name: string,
  extraDirs: readonly string[] = [],
  searchPath = process.env.PATH ?? '',
): string | undefined {
  const folders = [
    ...extraDirs,
    ...searchPath.split(':').filter((part) => part !== ''),
    ...systemFolders,
  ]
  for (const folder of folders) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  return undefined
}

export interface ToolRun {
  readonly path: string
  readonly args: readonly string[]
  readonly stdin?: string
  /** Run inside this network namespace. */
  readonly netnsFd?: number
  readonly timeoutMs?: number
}

export interface ToolResult {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a tool to its end. Rejects only when it can't be started or takes too long. */
export function runTool(run: ToolRun): Promise<ToolResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ToolResult>()
  const start = (): ChildProcess =>
    spawn(run.path, [...run.args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: toolEnvironment(run.path),
    })
  const child = run.netnsFd === undefined ? start() : withNetns(run.netnsFd, start)
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    reject(
      new MeshError(
        'LINUX_TOOL_TIMEOUT',
        `${run.path} ${run.args.join(' ')} took too long and was killed`,
        {
          hint: 'Another process may hold the xtables lock (/run/xtables.lock).',
          retryable: true,
        },
      ),
    )
  }, run.timeoutMs ?? limits.toolTimeoutMs)
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  child.once('error', (error) => {
    clearTimeout(timer)
    reject(
      new MeshError('LINUX_TOOL_START', `can't run ${run.path}: ${toError(error).message}`, {
        cause: error,
        hint: 'Install it (Debian: nftables, iptables, iproute2), or name the folder that has it.',
      }),
    )
  })
  child.once('close', (code) => {
    clearTimeout(timer)
    resolve({ code, stdout: stdout(), stderr: stderr() })
  })
  // A tool that rejects its arguments closes stdin before reading it; its message says why.
  child.stdin?.on('error', () => {})
  child.stdin?.end(run.stdin ?? '')
  return promise
}

/** Applies rules (nft, iptables-restore, ip -batch ...) given on stdin; what the tool refuses is an error. */
export async function runRules(run: ToolRun & { readonly stdin: string }): Promise<string> {
  const result = await runTool(run)
  if (result.code === 0) return result.stdout
  const said = result.stderr.trim() || result.stdout.trim() || 'no message'
  throw new MeshError('LINUX_RULES_REFUSED', `${run.path} ${run.args.join(' ')} failed: ${said}`, {
    hint: ruleHint(said, run.stdin),
  })
}

export interface IpBatchOptions {
  readonly netnsFd?: number
  /** The path of `ip`; found when absent. */
  readonly tool?: string
  readonly family?: 4 | 6
  /** Complaints that don't matter, like `File exists`: the other lines are executed all the same. */
  readonly ignore?: RegExp
}

/** Runs lines of `ip` (without the word `ip`) in one process, in order. */
export async function ipBatch(
  lines: readonly string[],
  options: IpBatchOptions = {},
): Promise<void> {
  const path = options.tool ?? findTool('ip')
  if (path === undefined) {
    throw new MeshError('LINUX_TOOL_MISSING', 'the program `ip` was not found', {
      hint: 'Install iproute2.',
    })
  }
  const args = [
    ...(options.family === undefined ? [] : [`-${options.family}`]),
    ...(options.ignore === undefined ? [] : ['-force']),
    '-batch',
    '-',
  ]
  const stdin = `${lines.join('\n')}\n`
  const { netnsFd, ignore } = options
  const run = { path, args, stdin, ...(netnsFd === undefined ? {} : { netnsFd }) }
  if (ignore === undefined) return void (await runRules(run))
  const result = await runTool(run)
  if (result.code === 0) return
  const serious = result.stderr
    .split('\n')
    .filter(
      (line) => line.trim() !== '' && !line.startsWith('Command failed -:') && !ignore.test(line),
    )
  if (serious.length === 0) return
  throw new MeshError('LINUX_RULES_REFUSED', `ip -batch failed: ${serious.join('; ')}`, {
    hint: ruleHint(result.stderr, stdin),
  })
}

function ruleHint(said: string, input: string): string {
  if (/Operation not permitted|Permission denied/i.test(said)) {
    return 'CAP_NET_ADMIN is needed in the user namespace that owns the network namespace.'
  }
  if (/No such file or directory|not supported|Protocol not supported|does not exist/i.test(said)) {
    return 'The kernel may lack a module (nf_tables, nft_redir, xt_REDIRECT, xt_CONNMARK ...): load it on the host.'
  }
  const line = Number(/(?:line |stdin:|-:)(\d+)/.exec(said)?.[1])
  const text = Number.isNaN(line) ? undefined : input.split('\n')[line - 1]
  return text === undefined
    ? 'The message above is the tool’s own.'
    : `The refused line is: ${text.trim()}`
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = []
  let bytes = 0
  stream?.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= limits.toolOutputBytes) chunks.push(chunk)
  })
  return () => Buffer.concat(chunks).toString()
}

/**
 * iptables-legacy locks a file in /run, which an unprivileged user namespace can't write. The rules
 * are in a namespace of ours alone, so any file serves.
 */
function xtablesLock(): string {
  const usual = '/run/xtables.lock'
  const candidates = [process.env.XTABLES_LOCKFILE, usual, '/run/weft/xtables.lock']
  const writable = candidates.find((path) => path !== undefined && canCreate(path))
  return writable ?? join(tmpdir(), `xtables-${process.getuid?.() ?? 0}.lock`)
}

function canCreate(path: string): boolean {
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** A tool unpacked from a distribution package finds the libraries that were unpacked with it. */
function toolEnvironment(path: string): NodeJS.ProcessEnv {
  const environment = { ...process.env, LC_ALL: 'C', XTABLES_LOCKFILE: xtablesLock() }
  const folder = dirname(path)
  if (systemFolders.includes(folder)) return environment
  const root = join(folder, '..')
  const libraries = [root, join(root, '..')].flatMap((base) => {
    const lib = join(base, 'lib')
    if (!existsSync(lib)) return []
    const triplets = readdirSync(lib).filter((name) => name.endsWith('-linux-gnu'))
    return [lib, ...triplets.map((name) => join(lib, name))]
  })
  return libraries.length === 0
    ? environment
    : { ...environment, LD_LIBRARY_PATH: libraries.join(':') }
}
