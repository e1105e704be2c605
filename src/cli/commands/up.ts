/** `weft up`: starts the mesh and says what to do next. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { MeshError } from '../../base/index.ts'
import { type MeshHandle, startMesh, stateHome } from '../../standalone/index.ts'
import { addNameOption, type CommandContext, nameFlag } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { formatStructured, ProgressPrinter, seconds } from '../output.ts'

interface UpOptions {
  name: string
  root?: boolean
  rootless?: boolean
  sample: string[]
  registryPort: number
  ingressPort: number
  hostAccess?: boolean
  allowHostPath: string[]
  images?: string
  foreground?: boolean
  output?: 'json' | 'yaml'
}

const examples = `
Examples:
  weft up                                    the mesh, with Bookinfo in it
  weft up --sample none                      the mesh alone
  weft up --name two --registry-port 7443 --ingress-port 8090
  weft up --foreground                       for a supervisor or a container: stay until Ctrl-C`

export function addUp(program: Command, context: CommandContext): void {
  const collect = (value: string, previous: string[]): string[] => [...previous, value]
  const command = program
    .command('up')
    .description('start the mesh on this machine; it stays when the command returns')
  addNameOption(command, context)
    .option('--root', 'run as root (default when you are root)')
    .option('--rootless', 'run in a user namespace, also when you are root')
    .addOption(
      new Option(
        '--sample <name>',
        'application to start in it (bookinfo, httpbin ..., none); repeatable',
      )
        .default([], 'bookinfo')
        .argParser(collect),
    )
    .option('--registry-port <port>', 'of the API server on 127.0.0.1', parsePort, 6443)
    .option('--ingress-port <port>', 'of the first LoadBalancer on 127.0.0.1', parsePort, 8080)
    .option('--host-access', "let pods reach servers on this machine's loopback")
    .option('--allow-host-path <prefix>', 'folders that pods may mount; repeatable', collect, [])
    .option('--images <file>', 'image catalogue (default: weft.yaml here, if it is there)')
    .option('--foreground', 'stay in the foreground; Ctrl-C stops the mesh')
    .addOption(new Option('-o, --output <format>', 'print the result as').choices(['json', 'yaml']))
    .addHelpText('after', examples)
    .action((options: UpOptions, self: Command) => up(context, options, explicitFlags(self)))
}

function parsePort(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65535)
    throw new InvalidArgumentError('a port is 1 to 65535')
  return port
}

async function up(
  context: CommandContext,
  options: UpOptions,
  explicit: ReadonlySet<string>,
): Promise<void> {
  if (context.platform !== 'linux') {
    throw new MeshError('CLI_PLATFORM', `weft up needs Linux, and this is ${context.platform}`, {
      hint: 'Run it in a Linux VM or container; the commands that need no mesh work here.',
    })
  }
  if (options.root === true && options.rootless === true) {
    throw new MeshError('CLI_FLAGS', '--root and --rootless exclude each other')
  }
  if (options.root === true && process.getuid?.() !== 0) {
    throw new MeshError('CLI_FLAGS', '--root needs root, and you are not', {
      hint: 'Leave the flag out to run without root, or use sudo.',
    })
  }
  if (options.registryPort === options.ingressPort) {
    throw new MeshError(
      'CLI_FLAGS',
      `--registry-port and --ingress-port are both ${options.ingressPort}`,
    )
  }
  const samples =
    options.sample.length === 0 ? ['bookinfo'] : options.sample.filter((name) => name !== 'none')
  const abort = new AbortController()
  const onSignal = (): void => abort.abort(new MeshError('CLI_INTERRUPTED', 'interrupted'))
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const progress = new ProgressPrinter(context.terminal)
  try {
    const mesh = await startMesh({
      name: options.name,
      stateHome: stateHome(context.environment),
      version: context.version,
      mode: options.rootless === true || process.getuid?.() !== 0 ? 'rootless' : 'root',
      samples,
      registryPort: options.registryPort,
      ingressPort: options.ingressPort,
      hostAccess: options.hostAccess === true,
      hostPathPrefixes: options.allowHostPath.map((path) => resolve(path)),
      ...catalogFile(options.images),
      foreground: options.foreground === true,
      signal: abort.signal,
      onProgress: ({ step, status, detail }) => {
        if (status === 'started') progress.begin(step)
        else if (status === 'done') progress.done(step)
        // What went wrong comes at the end, with what to do about it.
        else if (status === 'failed') progress.fail(step)
        else progress.note(`${step}${detail === undefined ? '' : `: ${detail}`}`)
      },
    })
    const elapsedMs = progress.end()
    if (!mesh.started) checkSameFlags(mesh.status, options, explicit)
    if (options.output !== undefined)
      context.terminal.out(formatStructured(mesh.status, options.output))
    else
      context.terminal.out(
        nextSteps(context.environment.WEFT_COMMAND ?? 'weft', mesh, samples, elapsedMs),
      )
    if (options.foreground === true) await stay(context, mesh, abort.signal)
  } catch (error) {
    progress.end()
    if (!abort.signal.aborted) throw error
    // A mesh that was there before is left alone, and the error says so.
    const joined = error instanceof MeshError && error.code === 'BROKER_JOIN_INTERRUPTED'
    const said = joined ? error.message : 'interrupted; nothing was left running'
    context.terminal.err(`weft: ${said}\n`)
    context.setExitCode(exitCodes.interrupted)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** Names of the options that the user gave, as against defaults. */
function explicitFlags(command: Command): ReadonlySet<string> {
  const names = command.options.map((option) => option.attributeName())
  return new Set(names.filter((name) => command.getOptionValueSource(name) === 'cli'))
}

/**
 * A mesh that runs keeps what it was started with. Whoever asks for something else must hear that,
 * and a script must not go on as if it had got it.
 */
export function checkSameFlags(
  status: MeshHandle['status'],
  options: Omit<UpOptions, 'name' | 'sample'>,
  explicit: ReadonlySet<string>,
): void {
  const { startedWith } = status
  const different: string[] = []
  const compare = (name: string, flag: string, asked: unknown, runs: unknown): void => {
    if (explicit.has(name) && !isDeepStrictEqual(asked, runs)) different.push(flag)
  }
  // Not by URL, which drops the default ports 80 and 443.
  const portOf = (url: string | undefined): number => Number(url?.split(':').at(-1))
  compare('registryPort', '--registry-port', options.registryPort, portOf(status.registryUrl))
  compare('ingressPort', '--ingress-port', options.ingressPort, portOf(status.ingressUrl))
  compare('root', '--root', 'root', status.mode)
  compare('rootless', '--rootless', 'rootless', status.mode)
  compare('hostAccess', '--host-access', options.hostAccess, startedWith?.hostAccess)
  const prefixes = options.allowHostPath.map((path) => resolve(path))
  compare('allowHostPath', '--allow-host-path', prefixes, startedWith?.hostPathPrefixes)
  const images = options.images === undefined ? undefined : resolve(options.images)
  compare('images', '--images', images, startedWith?.catalogFile)
  if (different.length === 0) return
  throw new MeshError(
    'CLI_RUNNING_DIFFERENT',
    `the mesh "${status.name}" runs already, with another value of ${different.join(', ')}`,
    { hint: `Stop it first: weft down${nameFlag(status.name)} (its state stays), then up again.` },
  )
}

function catalogFile(flag: string | undefined): { catalogFile?: string } {
  const path = resolve(flag ?? 'weft.yaml')
  if (existsSync(path)) return { catalogFile: path }
  if (flag === undefined) return {}
  throw new MeshError('CLI_NO_FILE', `${path} does not exist`, {
    hint: 'Name the file with your images: --images FILE.',
  })
}

/** In the foreground: until the mesh has ended, or Ctrl-C ends it. */
async function stay(context: CommandContext, mesh: MeshHandle, signal: AbortSignal): Promise<void> {
  if (!mesh.started) {
    throw new MeshError(
      'CLI_FOREGROUND',
      'the mesh runs in the background, and --foreground would not hold it',
      {
        hint: `Stop it first: weft down${nameFlag(mesh.status.name)}`,
      },
    )
  }
  const stopped = Promise.withResolvers<void>()
  const stop = (): void => {
    context.terminal.err('weft: stopping the mesh\n')
    mesh.stop().then(stopped.resolve, stopped.reject)
  }
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  await Promise.race([mesh.ended, stopped.promise])
  if (signal.aborted) await stopped.promise
}

function nextSteps(
  weft: string,
  mesh: MeshHandle,
  samples: readonly string[],
  elapsedMs: number,
): string {
  const { name, ingressUrl } = mesh.status
  const flag = nameFlag(name)
  const lines: [string, string][] = [
    ...(samples.includes('bookinfo')
      ? [['Bookinfo', `curl ${ingressUrl}/productpage`] as [string, string]]
      : []),
    ['kubectl', `export KUBECONFIG=$(${weft} kubeconfig${flag})`],
    ['', `kubectl get pods -A              (no kubectl? ${weft} kubectl${flag} get pods -A)`],
    ['enrol', 'kubectl label namespace default istio.io/dataplane-mode=ambient'],
    ['your program', `${weft} run${flag} --port 8080 -- ./server`],
    ['look inside', `${weft} status${flag}; ${weft} logs${flag} ztunnel -f`],
    ['stop', `${weft} down${flag}`],
  ]
  const headline = mesh.started
    ? `The mesh "${name}" is up ${seconds(elapsedMs)}.`
    : `The mesh "${name}" runs already.`
  return `${headline}\n\n${lines.map(([label, text]) => `  ${label.padEnd(14)}${text}\n`).join('')}`
}
