/** From a container's spec to a running process: command, environment, mounts, identity, log. */
import { rm } from 'node:fs/promises'
import { join, posix } from 'node:path'
import type { Clock, Logger } from '../../base/index.ts'
import type { ImageProgram } from '../images/index.ts'
import { type BuiltinRunners, startBuiltin } from './builtin.ts'
import type { ContainerRole, Launched } from './container.ts'
import { type EnvSources, expand, resolveEnv } from './env.ts'
import { ContainerConfigError } from './errors.ts'
import type { PodAddresses } from './fields.ts'
import { refusedMountPath, type VolumeBinding } from './launch-script.ts'
import type { ContainerLauncher, LaunchRequest, RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import { ContainerLog, logPath } from './logs.ts'
import { bindingOf } from './process-launcher.ts'
import { type DnsSettings, hostName, hostsFile, resolvConf } from './resolv.ts'
import {
  type Identity,
  identityOf,
  notEnforced,
  type SecurityRules,
  seesRunDir,
} from './security.ts'
import { type Container, type Pod, specOf, uidOf, type VolumeMount } from './types.ts'
import type { PreparedVolume } from './volumes.ts'

export interface BuilderOptions {
  readonly launcher: ContainerLauncher
  readonly builtins: BuiltinRunners
  readonly sources: EnvSources
  readonly rules: SecurityRules
  readonly dns: DnsSettings
  readonly nodeName: string
  readonly clock: Clock
  readonly logger: Logger
}

/** What the worker knows of the pod when a container starts. */
export interface BuildRequest {
  readonly pod: Pod
  readonly container: Container
  readonly role: ContainerRole
  readonly program: ImageProgram
  readonly attempt: number
  readonly addresses: PodAddresses
  readonly netnsFd: number | undefined
  readonly volumes: ReadonlyMap<string, PreparedVolume>
  /** `<state>/pods/<uid>`. */
  readonly stateFolder: string
  /** Called with what the pod asks for and does not get. */
  readonly refuse: (sentence: string) => void
}

export class ContainerBuilder {
  readonly #options: BuilderOptions

  constructor(options: BuilderOptions) {
    this.#options = options
  }

  async start(request: BuildRequest): Promise<Launched> {
    const { pod, container, role, program, attempt, addresses } = request
    const { launcher, rules, dns, builtins } = this.#options
    const { builtin } = program
    if (builtin !== undefined) {
      return this.#withLog(request, (log) => startBuiltin(builtins, builtin, pod, container, log))
    }
    const hostname = specOf(pod).hostNetwork === true ? this.#options.nodeName : hostName(pod)
    const env = await resolveEnv(
      { pod, container, addresses, image: program.env ?? {}, hostname },
      this.#options.sources,
    )
    const identity = identityOf(pod, container, role, program, rules)
    for (const sentence of notEnforced(pod, container, identity, program, rules)) {
      request.refuse(sentence)
    }
    const volumes = this.#mounts(request, env)
    this.#addCompileCache(request, identity, env, volumes)
    const launch: Omit<LaunchRequest, 'log'> = {
      podUid: uidOf(pod),
      containerName: container.name,
      attempt,
      hostname,
      netnsFd: request.netnsFd,
      command: commandOf(container, program, env),
      env,
      workingDir: container.workingDir ?? program.workingDir ?? '/',
      volumes,
      resolvConf: resolvConf(pod, dns),
      hosts: hostsFile(pod, addresses.podIp, dns.domain),
      identity,
      seesRunDir: seesRunDir(pod, program, rules),
      stdin: container.stdin === true,
      tty: container.tty === true,
      terminationMessagePath: terminationPath(container),
    }
    return this.#withLog(request, (log) => launcher.launch({ ...launch, log }))
  }

  async #withLog(
    request: BuildRequest,
    start: (log: ContainerLog) => Promise<RunningContainer>,
  ): Promise<Launched> {
    const log = await this.#openLog(request)
    try {
      return { process: await start(log), log }
    } catch (error) {
      await log.close()
      throw error
    }
  }

  /** Read-only, because a container must not get to write what another one runs. */
  #addCompileCache(
    { container, program }: BuildRequest,
    { user }: Identity,
    env: Map<string, string>,
    volumes: VolumeBinding[],
  ): void {
    const { compileCache: cache } = program
    if (cache === undefined || container.command !== undefined) return
    // Node looks for a folder of the user who runs it.
    const binding = bindingOf(cache.host, `${cache.path}-${user?.uid ?? 0}`, true)
    if (binding === undefined) return
    volumes.push(binding)
    if (env.has('NODE_COMPILE_CACHE')) return
    env.set('NODE_COMPILE_CACHE', posix.dirname(cache.path)).set('NODE_COMPILE_CACHE_PORTABLE', '1')
  }

  /** Only the present and the previous attempt keep their logs. */
  async #openLog({ container, attempt, stateFolder }: BuildRequest): Promise<ContainerLog> {
    const { clock, logger } = this.#options
    const folder = join(stateFolder, container.name)
    for (let index = 0; index < limits.logFilesMax; index++) {
      await rm(logPath(folder, attempt - 2, index), { force: true })
    }
    const log = new ContainerLog({ folder, attempt, clock, logger })
    await log.open()
    return log
  }

  #mounts(request: BuildRequest, env: ReadonlyMap<string, string>): VolumeBinding[] {
    const { container, program, volumes } = request
    const bindings: VolumeBinding[] = []
    for (const { host, path, writable } of program.mounts ?? []) {
      // What lies in the system's folders is there already.
      if (refusedMountPath(path) !== undefined) continue
      const binding = bindingOf(host, path, writable !== true)
      if (binding !== undefined) bindings.push(binding)
    }
    for (const mount of container.volumeMounts ?? []) {
      bindings.push(volumeBinding(container, mount, volumes, env))
    }
    // Parents before what is mounted inside them.
    return bindings.toSorted((a, b) => depth(a.target) - depth(b.target))
  }
}

function volumeBinding(
  container: Container,
  mount: VolumeMount,
  volumes: ReadonlyMap<string, PreparedVolume>,
  env: ReadonlyMap<string, string>,
): VolumeBinding {
  const field = `spec.containers{${container.name}}.volumeMounts`
  const volume = volumes.get(mount.name)
  const problem = (text: string): ContainerConfigError =>
    new ContainerConfigError('CreateContainerConfigError', `${field}: ${text}`)
  if (volume === undefined) throw problem(`"${mount.name}" is no volume of the pod`)
  const refused = refusedMountPath(mount.mountPath)
  if (refused !== undefined) throw problem(`mountPath ${mount.mountPath} ${refused}`)
  const subPath = mount.subPathExpr === undefined ? mount.subPath : expand(mount.subPathExpr, env)
  if (subPath !== undefined && (posix.isAbsolute(subPath) || subPath.split('/').includes('..'))) {
    throw problem(`subPath "${subPath}" must be relative and without ".."`)
  }
  const binding = bindingOf(
    volume.hostPath,
    posix.normalize(mount.mountPath),
    volume.readOnly || mount.readOnly === true,
  )
  if (binding === undefined) throw problem(`the content of volume "${mount.name}" is gone`)
  return subPath === undefined || subPath === '' ? binding : { ...binding, subPath }
}

function depth(path: string): number {
  return path.split('/').length
}

/** `command` replaces entry point and defaults; `args` alone replaces the default arguments. */
export function commandOf(
  container: Container,
  program: ImageProgram,
  env: ReadonlyMap<string, string>,
): string[] {
  const { command = [], args } = container
  const words =
    command.length > 0
      ? [...command, ...(args ?? [])]
      : [
          ...program.command,
          ...(args !== undefined && args.length > 0 ? args : (program.args ?? [])),
        ]
  if (words.length === 0) {
    throw new ContainerConfigError(
      'CreateContainerError',
      `spec.containers{${container.name}}: no command is given and image ${program.name} has none; set command`,
    )
  }
  return words.map((word) => expand(word, env))
}

function terminationPath(container: Container): string {
  const path = container.terminationMessagePath ?? '/dev/termination-log'
  return path === '' || refusedMountPath(path) !== undefined ? '/dev/termination-log' : path
}
