/** Starting, asking and stopping a mesh: what the command line calls. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MeshError, toError } from '../../base/index.ts'
import { type ImageMapping, readImageFile } from '../images/index.ts'
import { readSample } from '../init/samples.ts'
import { ensureNetTools } from '../network/tools.ts'
import { openStateDirectory, purgeState, stateExists } from '../state/directory.ts'
import { type MeshPaths, meshPaths, stateHome } from '../state/paths.ts'
import { readBrokerRecord } from '../state/record.ts'
import { openLog } from './app.ts'
import { askBroker, type ControlRequest } from './control.ts'
import { limits } from './limits.ts'
import { heldError, lockHolder } from './lock.ts'
import { checkPrerequisites, type Problem } from './prerequisites.ts'
import {
  type BrokerConfig,
  type BrokerToStarter,
  fromWireError,
  type MeshStatus,
  type ProgressEvent,
} from './protocol.ts'

const brokerEntry = fileURLToPath(new URL('main.ts', import.meta.url))
const repository = fileURLToPath(new URL('../../..', import.meta.url))

export interface StartOptions {
  readonly name: string
  readonly version: string
  /** Default: what the environment says (XDG_STATE_HOME). */
  readonly stateHome?: string
  /** Default: rootless unless the user is root. */
  readonly mode?: 'root' | 'rootless'
  readonly registryPort?: number
  readonly ingressPort?: number
  readonly hostAccess?: boolean
  readonly hostPathPrefixes?: readonly string[]
  readonly samples?: readonly string[]
  readonly catalogFile?: string
  /** The mesh ends with the caller. */
  readonly foreground?: boolean
  readonly onProgress?: (event: ProgressEvent) => void
  /** Abort in the middle of the start: nothing stays. */
  readonly signal?: AbortSignal
}

export interface MeshHandle {
  readonly status: MeshStatus
  /** False when the mesh was running already. */
  readonly started: boolean
  /** In the foreground: settles when the mesh has ended. */
  readonly ended: Promise<void>
  stop(): Promise<void>
}

/** Every prerequisite that is not met, as one error. */
export function prerequisitesError(problems: readonly Problem[], note = ''): MeshError {
  const lines = problems.map(({ message, fix }) => `  - ${message}\n      ${fix}`)
  return new MeshError(
    'STANDALONE_PREREQUISITES',
    `this machine can't run a mesh yet:\n${lines.join('\n')}`,
    { hint: `${note}Then run the same command again.` },
  )
}

/** Starts the mesh, or joins the one that runs under this name; returns when it is ready. */
export async function startMesh(options: StartOptions): Promise<MeshHandle> {
  const paths = meshPaths(options.stateHome ?? stateHome(process.env), options.name)
  // What is wrong with the request is said before anything is started.
  for (const name of options.samples ?? []) readSample(name)
  if (options.catalogFile !== undefined) readImageFile(options.catalogFile)
  const running = await joinRunning(options, paths)
  if (running !== undefined) return running
  const holder = await lockHolder(options.name)
  if (holder !== undefined) throw heldError(options.name, holder)
  const mode = options.mode ?? (process.getuid?.() === 0 ? 'root' : 'rootless')
  const toolFolders = await prerequisites(mode, options)
  options.signal?.throwIfAborted()
  openStateDirectory(paths)
  return launch(options, paths, {
    name: options.name,
    version: options.version,
    stateHome: options.stateHome ?? stateHome(process.env),
    mode,
    registryPort: options.registryPort ?? 6443,
    ingressPort: options.ingressPort ?? 8080,
    hostAccess: options.hostAccess ?? false,
    hostPathPrefixes: options.hostPathPrefixes ?? [],
    samples: options.samples ?? [],
    catalogFile: options.catalogFile,
    toolFolders,
    foreground: options.foreground ?? false,
  })
}

/** Rejects with everything that the machine lacks, in one message; returns folders with tools. */
async function prerequisites(mode: 'root' | 'rootless', options: StartOptions): Promise<string[]> {
  let toolFolders: string[] = []
  let note = ''
  try {
    if (process.platform === 'linux') toolFolders = await prepareTools(options)
  } catch (error) {
    if (!(error instanceof MeshError)) throw error
    // The check below finds the same tools missing, and whatever else is.
    if (error.code === 'NETWORK_TOOLS_FETCH') note = `(${error.message}) `
  }
  const problems = await checkPrerequisites({ mode, toolFolders })
  if (problems.length > 0) throw prerequisitesError(problems, note)
  return toolFolders
}

function prepareTools(options: StartOptions): Promise<string[]> {
  const began = performance.now()
  return ensureNetTools({
    caches: [join(repository, '.tools', 'net'), join(homedir(), '.cache', 'weft', 'net')],
    onProgress: (step) =>
      options.onProgress?.({
        step,
        status: 'note',
        elapsedMs: Math.round(performance.now() - began),
      }),
  })
}

async function joinRunning(
  options: StartOptions,
  paths: MeshPaths,
): Promise<MeshHandle | undefined> {
  if (!stateExists(paths)) return undefined
  const { signal } = options
  const ask = {
    timeoutMs: 180_000,
    onProgress: options.onProgress ?? (() => {}),
    ...(signal === undefined ? {} : { signal }),
  }
  let joined = false
  try {
    const answer = await askBroker(paths.controlSocket, { method: 'wait' }, ask)
    if (answer === undefined) return undefined
    joined = true
    const samples = options.samples ?? []
    if (samples.length > 0)
      await askBroker(paths.controlSocket, { method: 'apply-samples', samples }, ask)
    return joinedHandle(options, paths, answer.result as MeshStatus)
  } catch (error) {
    if (signal?.aborted !== true) throw error
    const what = joined ? 'was running before and goes on' : 'is being started by another command'
    throw new MeshError(
      'BROKER_JOIN_INTERRUPTED',
      `interrupted; the mesh "${options.name}" ${what}`,
    )
  }
}

/** @param status what the broker answered */
function joinedHandle(options: StartOptions, paths: MeshPaths, status: MeshStatus): MeshHandle {
  return {
    status,
    started: false,
    ended: Promise.resolve(),
    stop: async () => {
      await stopMesh({ name: options.name, stateHome: join(paths.root, '..') })
    },
  }
}

async function launch(
  options: StartOptions,
  paths: MeshPaths,
  config: BrokerConfig,
): Promise<MeshHandle> {
  const logFd = openLog(paths.brokerLog)
  // A session of its own: neither Ctrl-C nor the terminal's end reaches it; its channel to us does.
  const child = spawn(process.execPath, [...process.execArgv, brokerEntry], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', logFd, logFd, 'ipc'],
  })
  closeSync(logFd)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), limits.stopDeadlineMs + 5_000)
    await ended
    clearTimeout(timer)
  }
  const onAbort = (): void => void child.kill('SIGTERM')
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const status = await untilReady(child, config, options.onProgress, paths)
    if (!config.foreground) {
      child.disconnect()
      child.unref()
    }
    return { status, started: true, ended, stop }
  } catch (error) {
    await stop()
    options.signal?.throwIfAborted()
    throw error
  } finally {
    options.signal?.removeEventListener('abort', onAbort)
  }
}

function untilReady(
  child: ChildProcess,
  config: BrokerConfig,
  onProgress: StartOptions['onProgress'],
  paths: MeshPaths,
): Promise<MeshStatus> {
  return new Promise((resolve, reject) => {
    child.on('message', (value) => {
      // Our own broker, of this very checkout.
      const message = value as BrokerToStarter
      if (message.type === 'progress') onProgress?.(message.event)
      else if (message.type === 'ready') resolve(message.status)
      else reject(fromWireError(message.error))
    })
    child.once('error', (error) => reject(toError(error)))
    child.once('exit', (code, signal) => {
      reject(
        new MeshError(
          'BROKER_ENDED',
          `the broker ended (${signal ?? `code ${code}`}) before the mesh was ready`,
          {
            hint: `Its last words are in ${paths.brokerLog}.`,
          },
        ),
      )
    })
    child.send(config, () => {})
  })
}

export interface StopOptions {
  readonly name: string
  readonly stateHome?: string
  /** Also remove the state directory. */
  readonly purge?: boolean
  readonly onProgress?: (event: ProgressEvent) => void
}

/** Stops a mesh; true when one was running. Returns when no process of it is left. */
export async function stopMesh(options: StopOptions): Promise<boolean> {
  const paths = meshPaths(options.stateHome ?? stateHome(process.env), options.name)
  if (!stateExists(paths)) {
    const holder = await lockHolder(options.name)
    if (holder !== undefined) throw heldError(options.name, holder)
    return false
  }
  const pid = readBrokerRecord(paths)?.pid
  const answer = await askBroker(
    paths.controlSocket,
    { method: 'down' },
    {
      timeoutMs: limits.stopDeadlineMs + 10_000,
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    },
  )
  if (answer !== undefined && pid !== undefined) await processEnd(pid)
  if (options.purge === true) purgeState(paths)
  return answer !== undefined
}

async function processEnd(pid: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What `defineImage` and `forgetImage` need to find the mesh. */
export interface MeshAddress {
  readonly name: string
  readonly stateHome: string
}

/** Makes an image name stand for a program of this machine, in a mesh that runs. */
export async function defineImage(mesh: MeshAddress, image: ImageMapping): Promise<void> {
  await askRunning(mesh, { method: 'define-image', image })
}

/** Takes back what `defineImage` said; containers that run are not touched. */
export async function forgetImage(mesh: MeshAddress, image: string): Promise<void> {
  await askRunning(mesh, { method: 'forget-image', name: image })
}

async function askRunning(mesh: MeshAddress, request: ControlRequest): Promise<void> {
  const { controlSocket } = meshPaths(mesh.stateHome, mesh.name)
  const answer = await askBroker(controlSocket, request, { timeoutMs: 10_000 })
  if (answer !== undefined) return
  const flag = mesh.name === 'default' ? '' : ` --name ${mesh.name}`
  throw new MeshError('BROKER_NOT_RUNNING', `the mesh "${mesh.name}" does not run`, {
    hint: `Start it with: weft up${flag}`,
  })
}

/** What is known about a mesh; undefined when there is nothing of that name. */
export async function meshStatus(
  name: string,
  home: string = stateHome(process.env),
): Promise<MeshStatus | undefined> {
  const paths = meshPaths(home, name)
  if (!stateExists(paths)) return undefined
  const answer = await askBroker(paths.controlSocket, { method: 'status' }, { timeoutMs: 5_000 })
  if (answer !== undefined) return answer.result as MeshStatus
  return {
    name,
    state: 'stopped',
    pid: undefined,
    mode: undefined,
    version: undefined,
    startedAt: undefined,
    stateDirectory: paths.root,
    kubeconfig: paths.kubeconfig,
    registryUrl: undefined,
    ingressUrl: undefined,
    listeners: [],
    startedWith: undefined,
    restarts: 0,
  }
}
