/** Starts containers as processes in namespaces of their own (see `launch-script.ts`). */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errnoOf, MeshError, toError } from '../../base/index.ts'
import { findTool, withNetns } from '../../linux/index.ts'
import { containerRoot } from '../images/index.ts'
import { LaunchError } from './errors.ts'
import { type HostRoot, lockedFlags, type MountEntry, prepareHostRoot } from './host-root.ts'
import { envScript, initScript } from './init-script.ts'
import { launchFiles, type VolumeBinding } from './launch-script.ts'
import type { ContainerLauncher, LaunchRequest, RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import { ContainerProcess } from './process.ts'
import type { Identity } from './security.ts'
import { Semaphore } from './semaphore.ts'
import { askedTerminalStreams, type ProcessStreams, pipeStreams } from './streams.ts'
import { Terminal } from './terminal.ts'

export interface ProcessLauncherOptions {
  /** A private tmpfs, such as `/run/weft`. */
  readonly runDir: string
}

interface Tools {
  readonly unshare: string
  readonly nsenter: string
  readonly setpriv: string
  readonly setsid: string
}

const run = promisify(execFile)

export class ProcessLauncher implements ContainerLauncher {
  readonly #runDir: string
  #tools: Tools | undefined
  #hostRoot: HostRoot | undefined
  #resetSignals = true
  readonly #starting = new Semaphore(limits.containersStarting)

  constructor(options: ProcessLauncherOptions) {
    this.#runDir = options.runDir
  }

  /** Looks at the machine once. Rejects with what is missing. */
  async prepare(): Promise<void> {
    // Workloads expect the usual mask, and other users must be able to read what is mounted for them.
    process.umask(0o022)
    this.#tools = {
      unshare: tool('unshare'),
      nsenter: tool('nsenter'),
      setpriv: tool('setpriv'),
      setsid: tool('setsid'),
    }
    for (const name of ['mount', 'umount', 'pivot_root', 'mkfifo']) tool(name)
    mkdirSync(this.#rootMountPoint, { recursive: true, mode: 0o755 })
    this.#hostRoot = prepareHostRoot(this.#etcFolder)
    this.#resetSignals = !(await fails('/usr/bin/env', ['--default-signal=INT,QUIT', 'true']))
  }

  async launch(request: LaunchRequest): Promise<RunningContainer> {
    const release = await this.#starting.acquire()
    try {
      return await this.#launch(request)
    } finally {
      release()
    }
  }

  async #launch(request: LaunchRequest): Promise<RunningContainer> {
    const boot = this.#bootFolder(request, request.attempt)
    this.#writeBoot(boot, request)
    const terminal = request.tty ? new Terminal() : undefined
    const streams =
      terminal === undefined
        ? await pipeStreams(join(boot, 'main'), request.stdin)
        : askedTerminalStreams(terminal, request.stdin)
    let child: ChildProcess
    try {
      child = this.#spawn(boot, request, streams)
    } finally {
      streams.release()
    }
    child.stdin?.on('error', () => {})
    request.log.follow('stdout', streams.stdout)
    if (streams.stderr !== undefined) request.log.follow('stderr', streams.stderr)
    const { nsenter, setsid, setpriv } = this.#neededTools()
    const { workingDir, identity } = request
    const container = new ContainerProcess({
      child,
      streams,
      terminal,
      terminationFile: join(boot, 'termination-log'),
      bootFolder: boot,
      execSetup: {
        nsenter,
        setsid,
        dropPrivileges: dropPrivileges(setpriv, identity),
        user: identity.user,
        workingDir,
      },
    })
    await this.#ready(child, container, request)
    return container
  }

  #spawn(boot: string, request: LaunchRequest, streams: ProcessStreams): ChildProcess {
    const { unshare } = this.#neededTools()
    const args = [
      '--mount',
      '--uts',
      '--ipc',
      '--pid',
      '--fork',
      '--kill-child',
      '/bin/sh',
      join(boot, 'launch.sh'),
    ]
    const start = (): ChildProcess =>
      spawn(unshare, args, {
        cwd: '/',
        // No controlling terminal: a workload could type into it.
        detached: true,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
        stdio: [...streams.stdio, 'pipe'],
      })
    return request.netnsFd === undefined ? start() : withNetns(request.netnsFd, start)
  }

  /** Waits for the word of the init script; whatever else comes on descriptor 3 is why it failed. */
  async #ready(
    child: ChildProcess,
    process: ContainerProcess,
    request: LaunchRequest,
  ): Promise<void> {
    const channel = child.stdio[3] as NodeJS.ReadableStream
    const said: Buffer[] = []
    let started = false
    const ended = new Promise<void>((resolve, reject) => {
      channel.on('data', (chunk: Buffer) => {
        said.push(chunk)
        if (request.tty && Buffer.concat(said).toString() === 'tty\n') {
          said.length = 0
          try {
            process.giveTerminal()
          } catch (error) {
            // Without one the container would wait for it for ever.
            process.kill()
            reject(new LaunchError(`no terminal could be made: ${toError(error).message}`))
          }
        }
        started ||= Buffer.concat(said).toString().endsWith('ready\n')
        if (started) resolve()
      })
      channel.once('end', resolve).once('error', () => resolve())
      child.once('error', (error) => reject(new LaunchError(error.message)))
    })
    const timer = setTimeout(() => process.kill(), limits.launchTimeoutMs)
    try {
      await ended
    } finally {
      clearTimeout(timer)
    }
    if (started) return process.started()
    process.kill()
    const { code } = await process.exit
    const text = Buffer.concat(said).toString().trim()
    throw new LaunchError(
      text === ''
        ? `the sandbox of container "${request.containerName}" could not be made (exit code ${code}); see its log`
        : text,
    )
  }

  #writeBoot(boot: string, request: LaunchRequest): void {
    for (const folder of [boot, this.#bootFolder(request, request.attempt - 1)]) {
      rmSync(folder, { recursive: true, force: true })
    }
    mkdirSync(join(boot, 'inside'), { recursive: true, mode: 0o755 })
    mkdirSync(join(boot, 'etc'), { mode: 0o755 })
    const { command, env, workingDir, identity } = request
    const terminalWith = request.tty ? this.#neededTools().setsid : undefined
    const files = new Map([
      ['etc/resolv.conf', request.resolvConf],
      ['etc/hosts', request.hosts],
      ['etc/hostname', `${request.hostname}\n`],
      ['termination-log', ''],
      ['inside/env.sh', envScript(env, this.#resetSignals)],
      ['inside/init.sh', initScript({ command, env, workingDir, terminalWith })],
      ...this.#script(boot, request),
    ])
    for (const [name, text] of files) writeFileSync(join(boot, name), text, { mode: 0o644 })
    const termination = join(boot, 'termination-log')
    chmodSync(termination, 0o666)
    if (identity.user !== undefined) chownSync(termination, identity.user.uid, identity.user.gid)
  }

  #script(boot: string, request: LaunchRequest): Map<string, string> {
    const hostRoot = this.#hostRoot
    if (hostRoot === undefined) throw new LaunchError('the launcher was not prepared')
    const fixed = request.volumes.filter(({ target }) => target.startsWith(`${containerRoot}/`))
    const volumes = request.volumes.filter((volume) => !fixed.includes(volume))
    const scratch = `size=${limits.scratchBytes / 3}`.replace(/\..*/, '')
    const tmpfs = (target: string, mode: string): MountEntry => ({
      source: 'tmpfs',
      target,
      type: 'tmpfs',
      options: [`mode=${mode}`, scratch, 'nosuid', 'nodev'],
    })
    const mounts: MountEntry[] = [
      ...hostRoot.mounts,
      { source: 'proc', target: '/proc', type: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
      ...(request.identity.capabilities.length > 0 ? [] : [this.#readOnlySettings]),
      {
        source: 'devpts',
        target: '/dev/pts',
        type: 'devpts',
        options: ['newinstance', 'ptmxmode=0666', 'mode=0620', 'nosuid', 'noexec'],
      },
      tmpfs('/dev/shm', '1777'),
      tmpfs('/tmp', '1777'),
      tmpfs('/run', '1777'),
      tmpfs('/var', '0755'),
      {
        source: join(boot, 'inside'),
        target: '/.weft',
        options: ['bind', 'ro', ...lockedFlags(boot)],
      },
      ...fixed.map(fixedEntry),
      ...(request.seesRunDir ? this.#runDirMounts() : []),
    ]
    const message: VolumeBinding = {
      source: join(boot, 'termination-log'),
      isFile: true,
      target: request.terminationMessagePath,
      readOnly: false,
      flags: lockedFlags(boot),
    }
    return launchFiles({
      rootMountPoint: this.#rootMountPoint,
      bootFolder: boot,
      hostname: request.hostname,
      mounts,
      links: [...hostRoot.links, ...deviceLinks],
      etcFolders: [this.#etcFolder, join(boot, 'etc')],
      volumes: [...volumes, message],
      workingDir: request.workingDir,
      dropPrivileges: dropPrivileges(this.#neededTools().setpriv, request.identity),
    })
  }

  /** The mesh's directory without what belongs to other pods. */
  #runDirMounts(): MountEntry[] {
    return [
      { source: this.#runDir, target: '/run/weft', options: ['bind', 'X-mount.mkdir'] },
      {
        source: 'tmpfs',
        target: '/run/weft/pods',
        type: 'tmpfs',
        options: ['ro', 'mode=0', 'size=4k'],
      },
    ]
  }

  /** In rootless mode the workload's user owns the settings of its own network namespace. */
  get #readOnlySettings(): MountEntry {
    return {
      source: `${this.#rootMountPoint}/proc/sys`,
      target: '/proc/sys',
      options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'],
      inside: true,
    }
  }

  get #etcFolder(): string {
    return join(this.#runDir, 'etc')
  }

  get #rootMountPoint(): string {
    return join(this.#runDir, 'rootfs')
  }

  #bootFolder({ podUid, containerName }: LaunchRequest, attempt: number): string {
    return join(this.#runDir, 'pods', podUid, 'boot', `${containerName}.${attempt}`)
  }

  #neededTools(): Tools {
    if (this.#tools === undefined) throw new LaunchError('the launcher was not prepared')
    return this.#tools
  }
}

const deviceLinks = [
  { path: '/dev/ptmx', to: 'pts/ptmx' },
  { path: '/dev/fd', to: '/proc/self/fd' },
  { path: '/dev/stdin', to: '/proc/self/fd/0' },
  { path: '/dev/stdout', to: '/proc/self/fd/1' },
  { path: '/dev/stderr', to: '/proc/self/fd/2' },
]

function fixedEntry({ source, target, readOnly, isFile, flags }: VolumeBinding): MountEntry {
  return { source, target, isFile, options: ['bind', ...(readOnly ? ['ro'] : []), ...flags] }
}

/** Drops every capability but the granted ones from every set, and the way back. */
export function dropPrivileges(setpriv: string, identity: Identity): string[] {
  const { user, capabilities } = identity
  const kept = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',')
  return [
    setpriv,
    ...(user === undefined
      ? []
      : ['--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups']),
    '--no-new-privs',
    '--ambient-caps=-all',
    '--inh-caps=-all',
    `--bounding-set=${kept}`,
  ]
}

function tool(name: string): string {
  const path = findTool(name)
  if (path !== undefined) return path
  throw new MeshError('RUNTIME_TOOL_MISSING', `the program \`${name}\` was not found`, {
    hint: name === 'mkfifo' ? 'Install coreutils.' : 'Install util-linux 2.36 or newer.',
  })
}

async function fails(path: string, args: readonly string[]): Promise<boolean> {
  return run(path, [...args]).then(
    () => false,
    () => true,
  )
}

/** A mount of a file or folder of the machine; undefined when it is not there. */
export function bindingOf(
  source: string,
  target: string,
  readOnly: boolean,
): VolumeBinding | undefined {
  try {
    const isFile = !statSync(source).isDirectory()
    return { source, target, readOnly, isFile, flags: lockedFlags(source) }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw toError(error)
  }
}
