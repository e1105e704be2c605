/** `weft run`: a command of this machine as a pod of the mesh. */
import { statSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { MeshError, toError } from '../../base/index.ts'
import type { ClosableKubeClient } from '../../client/index.ts'
import { isApiError, type KubeObject, resources } from '../../kube/index.ts'
import {
  defineImage,
  forgetImage,
  type MeshAddress,
  meshStatus,
  stateHome,
} from '../../standalone/index.ts'
import { addNameOption, type CommandContext, pathsOf, registryClient } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { formatStructured, seconds } from '../output.ts'
import { followPod } from '../run/follow.ts'
import {
  parseRunEnv,
  parseRunLabels,
  parseRunPort,
  type RunPort,
  type RunRequest,
  runPod,
  runService,
} from '../run/objects.ts'
import { isInside, localProgram, parseMount, podNameOf } from '../run/program.ts'
import { noMesh, notRunning } from './kubeconfig.ts'

interface RunOptions {
  name: string
  namespace: string
  pod?: string
  port: RunPort[]
  env: string[]
  label: string[]
  mount: string[]
  serviceAccount?: string
  meshed: boolean
  keep?: boolean
  detach?: boolean
  output?: 'json' | 'yaml'
}

const help = `
The command sees this folder (writable), the system's programs, and what --mount adds. It has its own address, and
is reached by other pods as POD.NAMESPACE when it has a --port. Ctrl-C ends it and removes pod and Service; the exit
code is the command's own.

Examples:
  weft run --port 8080 -- node server.js
  weft run --pod web --port 80:3000/http --env LOG=debug -- ./web
  weft run -- curl -s http://productpage.bookinfo:9080/productpage
  weft run --detach --pod db --service-account db --port 5432 -- ./start-db`

export function addRun(program: Command, context: CommandContext): void {
  const collect = (value: string, previous: string[]): string[] => [...previous, value]
  const collectPort = (value: string, previous: RunPort[]): RunPort[] => {
    const port = parseRunPort(value)
    if (port === undefined)
      throw new InvalidArgumentError('give PORT, SERVICEPORT:PORT or PORT/http')
    return [...previous, port]
  }
  const command = program
    .command('run')
    .usage('[options] -- COMMAND [ARGS...]')
    .description('start a command of this machine as a pod of the mesh')
    .argument('<command...>', 'the command and its arguments')
    .passThroughOptions()
  addNameOption(command, context)
    .option('-n, --namespace <namespace>', 'namespace of the pod', 'default')
    .option('--pod <name>', "name of the pod and its Service (default: the program's)")
    .option('--port <port>', 'it listens there; makes a Service; repeatable', collectPort, [])
    .option(
      '--env <key=value>',
      'variable for it; KEY alone passes yours on; repeatable',
      collect,
      [],
    )
    .option('--label <key=value>', 'label of the pod; repeatable', collect, [])
    .option('--mount <host[:path][:rw]>', 'file or folder that it sees; repeatable', collect, [])
    .option('--service-account <name>', 'its identity in the mesh (default: "default")')
    .option('--not-meshed', 'leave it outside the mesh: plaintext')
    .addOption(
      new Option('--rm', 'remove pod and Service at the end (the default)').conflicts('keep'),
    )
    .option('--keep', 'leave pod and Service when it has ended, for kubectl')
    .option('-d, --detach', 'return when it is ready, and leave it running')
    .addOption(
      new Option('-o, --output <format>', 'print the pod, and detach').choices(['json', 'yaml']),
    )
    .addHelpText('after', help)
    .action((words: string[], options: RunOptions & { notMeshed?: boolean }) =>
      run(context, words, { ...options, meshed: options.notMeshed !== true }),
    )
}

async function run(context: CommandContext, words: string[], options: RunOptions): Promise<void> {
  const dir = process.cwd()
  const home = stateHome(context.environment)
  const status = await meshStatus(options.name, home)
  if (status === undefined) throw noMesh(context, options.name)
  if (status.state === 'stopped') throw notRunning(options.name)
  refuseStateFolder(dir, pathsOf(context, options.name).root, status.mode)
  const searchPath = context.environment.PATH ?? ''
  const program = localProgram(words, { dir, searchPath })
  const mounts = [...program.mounts, ...options.mount.map((text) => parseMount(text, dir))]
  const client = registryClient(context, options.name)
  const mesh = { name: options.name, stateHome: home }
  try {
    const name =
      options.pod ?? (await freeName(client, options.namespace, podNameOf(words[0] ?? '')))
    // Its own for each run: a pod of the same name that is there already keeps its program.
    const image = `weft.local/run/${options.namespace}/${name}:${crypto.randomUUID().slice(0, 8)}`
    const request: RunRequest = {
      namespace: options.namespace,
      name,
      image,
      ports: options.port,
      env: parseRunEnv(options.env, context.environment),
      labels: parseRunLabels(options.label),
      serviceAccount: options.serviceAccount,
      meshed: options.meshed,
      detached: options.detach === true || options.output !== undefined,
      user: status.mode === 'root' ? ownerOf(dir) : undefined,
    }
    await defineImage(mesh, { image, command: program.command, dir, writable: true, mounts })
    await new Run({ context, client, mesh, request, keep: options.keep === true }).run(
      options.output,
    )
  } finally {
    client.close()
  }
}

/** In a rootless mesh the pod is the same user: it could read the mesh's keys. */
function refuseStateFolder(dir: string, state: string, mode: string | undefined): void {
  if (!isInside(state, dir) && !isInside(dir, state)) return
  if (mode === 'root' && !isInside(dir, state)) return
  throw new MeshError(
    'CLI_RUN_FOLDER',
    `${dir} holds the mesh's own keys (${state}), and the pod would see them`,
    {
      hint: "Change to your project's folder first; weft run shows the current folder to the pod.",
    },
  )
}

/** Files that the command writes belong to whom the folder belongs; nothing runs as root. */
function ownerOf(dir: string): { uid: number; gid: number } | undefined {
  const { uid, gid, mode } = statSync(dir)
  if (uid !== 0) return { uid, gid: gid === 0 ? uid : gid }
  if ((mode & 0o005) === 0o005) return undefined
  throw new MeshError('CLI_RUN_FOLDER', `${dir} is for root alone, and pods never run as root`, {
    hint: `Open it (chmod o+rx ${dir}), give it to a user with chown, or start from another folder.`,
  })
}

async function freeName(
  client: ClosableKubeClient,
  namespace: string,
  name: string,
): Promise<string> {
  const taken =
    (await client.get(resources.pods, namespace, name)) ??
    (await client.get(resources.services, namespace, name))
  return taken === undefined ? name : `${name}-${crypto.randomUUID().slice(0, 5)}`
}

interface RunParts {
  readonly context: CommandContext
  readonly client: ClosableKubeClient
  readonly mesh: MeshAddress
  readonly request: RunRequest
  readonly keep: boolean
}

class Run {
  readonly #parts: RunParts
  readonly #startedMs: number
  #pod: KubeObject | undefined

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#startedMs = parts.context.terminal.monotonic()
  }

  async run(output: 'json' | 'yaml' | undefined): Promise<void> {
    const { context, request, keep } = this.#parts
    const abort = new AbortController()
    // A second Ctrl-C does not wait for the command to end by itself.
    const onSignal = (): void => {
      if (!abort.signal.aborted) return abort.abort()
      void this.#delete(0)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    let left = false
    try {
      const pod = await this.#create()
      const code = await this.#follow(pod, abort.signal, output === undefined)
      left = request.detached && !abort.signal.aborted
      if (left && output !== undefined) await this.#print(output)
      if (abort.signal.aborted) context.setExitCode(exitCodes.interrupted)
      else if (code !== undefined) context.setExitCode(code)
      if (!abort.signal.aborted && keep) left = true
    } finally {
      if (!left) await this.#remove()
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    }
  }

  async #create(): Promise<KubeObject> {
    const { client, request } = this.#parts
    try {
      const pod = await client.create(resources.pods, runPod(request))
      this.#pod = pod
      if (request.ports.length > 0)
        await client.create(resources.services, runService(request, pod.metadata.uid ?? ''))
      return pod
    } catch (error) {
      throw explain(error, request)
    }
  }

  #follow(pod: KubeObject, signal: AbortSignal, announce: boolean): Promise<number | undefined> {
    const { context, client, request } = this.#parts
    return followPod({
      client,
      pod,
      clock: context.clock,
      onLog: request.detached ? undefined : (chunk) => context.terminal.out(chunk),
      onReady: () => {
        // A command that just does something and ends needs no announcement.
        if (announce && (request.detached || request.ports.length > 0))
          this.#note(this.#readyText())
      },
      note: (text) => this.#note(text),
      signal,
      untilReady: request.detached,
      probedPort: request.ports[0]?.targetPort,
    })
  }

  #readyText(): string {
    const { context, request } = this.#parts
    const { namespace, name, ports, meshed, serviceAccount = 'default', detached } = request
    const elapsed = seconds(context.terminal.monotonic() - this.#startedMs)
    const identity = meshed ? `as ${namespace}/sa/${serviceAccount}` : 'outside the mesh'
    const where = ports.map(({ port }) => `${name}.${namespace}:${port}`).join(', ')
    const stop = detached ? `; stop it with: weft kubectl delete pod -n ${namespace} ${name}` : ''
    return `pod ${namespace}/${name} runs ${identity}${where === '' ? '' : `, other pods reach it at ${where}`} ${elapsed}${stop}`
  }

  async #print(output: 'json' | 'yaml'): Promise<void> {
    const { context, client, request } = this.#parts
    const pod = await client.get(resources.pods, request.namespace, request.name)
    context.terminal.out(formatStructured(pod, output))
  }

  /** Pod, Service and image go; what was there before under these names is not touched. */
  async #remove(): Promise<void> {
    const { mesh, request, context, client } = this.#parts
    try {
      if (this.#pod !== undefined) {
        await this.#delete()
        await goneWithin(client, this.#pod, context, 15_000)
      }
      await forgetImage(mesh, request.image)
    } catch (error) {
      this.#note(`${request.namespace}/${request.name} is not removed: ${toError(error).message}`)
    }
  }

  async #delete(gracePeriodSeconds?: number): Promise<void> {
    const { client, request } = this.#parts
    const uid = this.#pod?.metadata.uid
    const only = uid === undefined ? {} : { preconditions: { uid } }
    const grace = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }
    const { namespace, name } = request
    const missing = (error: unknown): void => {
      if (!isApiError(error)) throw error
    }
    await client.delete(resources.pods, namespace, name, { ...only, ...grace }).catch(missing)
    if (request.ports.length === 0) return
    const service = await client.get(resources.services, namespace, name)
    if (service?.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true)
      await client.delete(resources.services, namespace, name).catch(missing)
  }

  #note(text: string): void {
    this.#parts.context.terminal.err(`weft: ${text}\n`)
  }
}

async function goneWithin(
  client: ClosableKubeClient,
  { metadata: { namespace, name, uid } }: KubeObject,
  context: CommandContext,
  timeoutMs: number,
): Promise<void> {
  const deadline = context.clock.monotonic() + timeoutMs
  while (context.clock.monotonic() < deadline) {
    const pod = await client.get(resources.pods, namespace, name)
    if (pod === undefined || pod.metadata.uid !== uid) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** The registry's refusals, with what to do in terms of this command. */
function explain(error: unknown, { namespace, name, serviceAccount }: RunRequest): unknown {
  if (!isApiError(error)) return error
  const { reason = '' } = error.status
  const hint =
    reason === 'AlreadyExists'
      ? `Choose another --pod, or remove that one: weft kubectl delete pod,service -n ${namespace} ${name}`
      : reason === 'NotFound' && /namespace/i.test(error.message)
        ? `Make the namespace first: weft kubectl create namespace ${namespace}`
        : /serviceaccount/i.test(error.message)
          ? `Make it first: weft kubectl create serviceaccount -n ${namespace} ${serviceAccount ?? 'default'}`
          : undefined
  return hint === undefined
    ? error
    : new MeshError('CLI_RUN', error.message, { cause: error, hint })
}
