/** `weft up`: starts the mesh and says what to do next. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { MeshError } from '../../base/index.ts'
import { type MeshStatus, startMesh, stateHome } from '../../standalone/index.ts'
import type { CommandContext } from '../context.ts'
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
  program
    .command('up')
    .description('start the mesh on this machine; it stays when the command returns')
    .option('--name <mesh>', 'name of the mesh; several can run side by side', 'default')
    .option('--root', 'run as root (default when you are root)')
    .option('--rootless', 'run in a user namespace, also when you are root')
    .addOption(
      new Option('--sample <name>', 'application to start in it (bookinfo, none); repeatable')
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
    .action((options: UpOptions) => up(context, options))
}

function parsePort(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65535)
    throw new InvalidArgumentError('a port is 1 to 65535')
  return port
}

async function up(context: CommandContext, options: UpOptions): Promise<void> {
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
      samples:
        options.sample.length === 0
          ? ['bookinfo']
          : options.sample.filter((name) => name !== 'none'),
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
        else if (status === 'failed')
          progress.fail(`${step}${detail === undefined ? '' : `: ${detail}`}`)
        else context.terminal.err(`        ${step}${detail === undefined ? '' : `: ${detail}`}\n`)
      },
    })
    const elapsedMs = progress.end()
    if (options.output !== undefined)
      context.terminal.out(formatStructured(mesh.status, options.output))
    else context.terminal.out(nextSteps(mesh.status, !mesh.started, elapsedMs))
    if (options.foreground === true) await mesh.ended
  } catch (error) {
    progress.end()
    if (!abort.signal.aborted) throw error
    context.terminal.err('weft: interrupted; nothing was left running\n')
    context.setExitCode(exitCodes.interrupted)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

function catalogFile(flag: string | undefined): { catalogFile?: string } {
  const path = resolve(flag ?? 'weft.yaml')
  if (existsSync(path)) return { catalogFile: path }
  if (flag === undefined) return {}
  throw new MeshError('CLI_NO_FILE', `${path} does not exist`, {
    hint: 'Name the file with your images: --images FILE.',
  })
}

function nextSteps(status: MeshStatus, alreadyRunning: boolean, elapsedMs: number): string {
  const flag = status.name === 'default' ? '' : ` --name ${status.name}`
  const headline = alreadyRunning
    ? `The mesh "${status.name}" runs already.`
    : `The mesh "${status.name}" is up ${seconds(elapsedMs)}.`
  return `${headline}

  Bookinfo     curl ${status.ingressUrl}/productpage
  kubectl      export KUBECONFIG=$(weft kubeconfig${flag})
               kubectl get pods -A              (no kubectl? weft kubectl get pods -A)
  enrol        kubectl label namespace default istio.io/dataplane-mode=ambient
  look inside  weft status${flag}; weft logs ztunnel -f
  stop         weft down${flag}
`
}
