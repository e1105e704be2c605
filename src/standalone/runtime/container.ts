/**
 * One container of a pod: starts it, watches it, starts it again with growing delays, and knows its
 * status. The pod's worker decides when it may run; what it is made of comes from the builder.
 */
import { type Clock, errnoOf, type Logger, sleep, toError } from '../../base/index.ts'
import type { ImageProgram } from '../images/index.ts'
import { type ActionTarget, runAction } from './actions.ts'
import { ContainerConfigError, LaunchError } from './errors.ts'
import type { Exit, RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import type { ContainerLog } from './logs.ts'
import { type ProbeKind, runProbe } from './probes.ts'
import { Termination } from './termination.ts'
import {
  type Container,
  type ContainerState,
  type ContainerStatus,
  kubeTime,
  type Terminated,
} from './types.ts'

export type ContainerRole = 'init' | 'sidecar' | 'main'

export interface ContainerOptions {
  readonly spec: Container
  readonly role: ContainerRole
  /** Of the pod, or of the sidecar itself. */
  readonly restartPolicy: string
  readonly clock: Clock
  readonly logger: Logger
  /** What an earlier run of the process tree left in the pod's status. */
  readonly previous: ContainerStatus | undefined
  readonly waitingReason: string
  readonly resolveImage: (image: string) => ImageProgram | undefined
  readonly imageHint: (image: string) => string
  /** Starts attempt `n`; failures are ContainerConfigError or LaunchError. */
  readonly launch: (program: ImageProgram, attempt: number) => Promise<Launched>
  readonly actionTarget: (process: RunningContainer) => ActionTarget
  readonly graceSeconds: () => number
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string) => void
  /** The status is different now. */
  readonly changed: () => void
}

export interface Launched {
  readonly process: RunningContainer
  readonly log: ContainerLog
}

/** How one attempt ended; `retry` means that nothing was started. */
type Outcome = { readonly kind: 'ended'; readonly exit: Exit } | { readonly kind: 'retry' }

export class ContainerRunner {
  readonly #options: ContainerOptions
  readonly #stopping = new AbortController()
  readonly #startedOnce = Promise.withResolvers<void>()
  #state: ContainerState
  #lastState: ContainerState
  /** Number of the latest start; -1 before the first. */
  #attempt: number
  #ready = false
  #started = false
  #containerId: string | undefined
  #program: ImageProgram | undefined
  #live: Launched | undefined
  #termination: Termination | undefined
  #probes: AbortController | undefined
  #delayMs = 0
  #done = false

  constructor(options: ContainerOptions) {
    this.#options = options
    const { previous, clock } = options
    const resumed = resume(previous, kubeTime(clock.now()))
    this.#attempt = resumed.attempt
    this.#lastState = resumed.lastState
    this.#state = { waiting: { reason: options.waitingReason } }
    this.#containerId = previous?.containerID
    if (resumed.lastState.terminated === undefined) return
    if (!this.#restarts(resumed.lastState.terminated.exitCode) && options.role === 'main') {
      this.#state = resumed.lastState
      this.#lastState = {}
      this.#done = true
    }
  }

  get name(): string {
    return this.#options.spec.name
  }

  /** Whether its input ends with the first client that attaches to it. */
  get stdinOnce(): boolean {
    return this.#options.spec.stdinOnce === true
  }

  get role(): ContainerRole {
    return this.#options.role
  }

  get attempt(): number {
    return this.#attempt
  }

  /** The running process and its log; undefined between runs. */
  get live(): Launched | undefined {
    return this.#live
  }

  /** The code with which the container ended for good. */
  get exitCode(): number | undefined {
    return this.#state.terminated?.exitCode
  }

  /** Resolves when the container has started for the first time (startup probe included). */
  get startedOnce(): Promise<void> {
    return this.#startedOnce.promise
  }

  status(): ContainerStatus {
    const { spec, role } = this.#options
    return {
      name: spec.name,
      state: this.#state,
      lastState: this.#lastState,
      ready: role === 'init' ? this.exitCode === 0 : this.#ready,
      started: this.#started,
      restartCount: Math.max(0, this.#attempt),
      image: spec.image ?? '',
      imageID: this.#program === undefined ? '' : `weft://${this.#program.name}`,
      ...(this.#containerId === undefined ? {} : { containerID: this.#containerId }),
    }
  }

  /** Runs until the container has ended for good, or was stopped. */
  async run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted && !this.#done) {
      const began = this.#options.clock.monotonic()
      const outcome = await this.#attemptOnce()
      if (signal.aborted) return
      if (outcome.kind === 'ended' && !this.#restarts(outcome.exit.code)) {
        this.#done = true
        return
      }
      const ranMs = this.#options.clock.monotonic() - began
      await this.#backOff(outcome, ranMs).catch(() => {})
    }
  }

  /** Ends the container for good. A second call can only make the time shorter. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort(new Error('the container is being stopped'))
    if (this.#live !== undefined && this.#termination === undefined) {
      this.#options.event('Normal', 'Killing', `Stopping container ${this.name}`)
    }
    await this.#terminate(graceMs)
  }

  /** Says that the pod has come this far: what it waits for from now on. */
  setWaiting(reason: string, message?: string): void {
    if (this.#state.waiting === undefined) return
    this.#state = { waiting: message === undefined ? { reason } : { reason, message } }
    this.#options.changed()
  }

  async #attemptOnce(): Promise<Outcome> {
    const { spec, event, resolveImage, imageHint } = this.#options
    const image = spec.image ?? ''
    const program = resolveImage(image)
    if (program === undefined) {
      const message = `Failed to pull image "${image}": ${imageHint(image)}`
      event('Warning', 'Failed', message)
      event('Warning', 'Failed', 'Error: ErrImagePull')
      this.#wait('ErrImagePull', message)
      return { kind: 'retry' }
    }
    this.#program = program
    event('Normal', 'Pulled', `Container image "${image}" already present on machine`)
    let launched: Launched
    try {
      launched = await this.#options.launch(program, this.#attempt + 1)
    } catch (error) {
      return this.#launchFailed(error)
    }
    this.#attempt++
    this.#containerId = newContainerId()
    event('Normal', 'Created', `Created container: ${spec.name}`)
    return this.#watch(launched)
  }

  #launchFailed(error: unknown): Outcome {
    const { event, clock } = this.#options
    const { message } = toError(error)
    event('Warning', 'Failed', `Error: ${message}`)
    if (!(error instanceof LaunchError)) {
      const reason = error instanceof ContainerConfigError ? error.reason : 'CreateContainerError'
      this.#wait(reason, message)
      this.#options.logger.debug('a container could not be made', {
        container: this.name,
        error: message,
        errno: errnoOf(error),
      })
      return { kind: 'retry' }
    }
    this.#attempt++
    const now = kubeTime(clock.now())
    const terminated = {
      exitCode: 128,
      reason: 'StartError',
      message,
      startedAt: now,
      finishedAt: now,
    }
    this.#set({ terminated })
    return { kind: 'ended', exit: { code: 128, signal: undefined } }
  }

  async #watch(launched: Launched): Promise<Outcome> {
    const { spec, clock, event } = this.#options
    const startedAt = kubeTime(clock.now())
    this.#live = launched
    this.#lastState = this.#state.terminated === undefined ? this.#lastState : this.#state
    this.#ready = spec.readinessProbe === undefined && spec.startupProbe === undefined
    this.#setStarted(spec.startupProbe === undefined)
    this.#set({ running: { startedAt } })
    event('Normal', 'Started', `Started container ${spec.name}`)
    if (this.#stopping.signal.aborted) void this.#terminate(0)
    void this.#postStart(launched)
    this.#startProbes(launched)
    const exit = await launched.process.exit
    this.#probes?.abort()
    this.#live = undefined
    this.#termination = undefined
    this.#ready = false
    this.#started = false
    const terminated: Terminated = {
      exitCode: exit.code,
      ...(exit.signal === undefined ? {} : { signal: exit.signal }),
      reason: exit.code === 0 ? 'Completed' : 'Error',
      ...(await this.#message(launched, exit)),
      startedAt,
      finishedAt: kubeTime(clock.now()),
      ...(this.#containerId === undefined ? {} : { containerID: this.#containerId }),
    }
    await launched.log.close()
    this.#set({ terminated })
    return { kind: 'ended', exit }
  }

  async #message(launched: Launched, exit: Exit): Promise<{ message?: string }> {
    const text = await launched.process.terminationMessage().catch(() => '')
    if (text !== '') return { message: text }
    const { terminationMessagePolicy } = this.#options.spec
    if (terminationMessagePolicy !== 'FallbackToLogsOnError' || exit.code === 0) return {}
    const last = launched.log.lastText()
    return last === '' ? {} : { message: last }
  }

  async #postStart(launched: Launched): Promise<void> {
    const { spec, event, actionTarget, graceSeconds } = this.#options
    const hook = spec.lifecycle?.postStart
    if (hook === undefined) return
    const graceMs = graceSeconds() * 1000
    const result = await runAction(hook, actionTarget(launched.process), Math.max(graceMs, 1_000))
    if (result.ok || this.#live !== launched) return
    event('Warning', 'FailedPostStartHook', `PostStartHook failed: ${result.output}`)
    await this.#terminate(graceMs)
  }

  #startProbes(launched: Launched): void {
    const { startupProbe, readinessProbe, livenessProbe } = this.#options.spec
    const abort = new AbortController()
    this.#probes = abort
    const after = (): void => {
      if (readinessProbe) this.#probe('readiness', launched, abort.signal)
      if (livenessProbe) this.#probe('liveness', launched, abort.signal)
    }
    if (startupProbe === undefined) return after()
    this.#probe('startup', launched, abort.signal, () => {
      this.#setStarted(true)
      if (readinessProbe === undefined) this.#ready = true
      this.#options.changed()
      after()
    })
  }

  #probe(kind: ProbeKind, launched: Launched, signal: AbortSignal, onOk?: () => void): void {
    const { spec, clock, event, actionTarget } = this.#options
    const probe = spec[`${kind}Probe`]
    if (probe === undefined) return
    const own = new AbortController()
    const both = AbortSignal.any([signal, own.signal])
    const title = `${kind[0]?.toUpperCase()}${kind.slice(1)}`
    const graceMs = (probe.terminationGracePeriodSeconds ?? this.#options.graceSeconds()) * 1000
    const onVerdict = (ok: boolean): void => {
      if (kind === 'readiness') {
        if (this.#ready !== ok) {
          this.#ready = ok
          this.#options.changed()
        }
      } else if (!ok) {
        own.abort()
        event('Normal', 'Killing', `Container ${spec.name} failed ${kind} probe, will be restarted`)
        void this.#terminate(graceMs)
      } else if (kind === 'startup') {
        own.abort()
        onOk?.()
      }
    }
    runProbe(
      {
        kind,
        probe,
        clock,
        check: (timeoutMs) => runAction(probe, actionTarget(launched.process), timeoutMs),
        onVerdict,
        onFailure: (output) => event('Warning', 'Unhealthy', `${title} probe failed: ${output}`),
      },
      both,
    ).catch((error: unknown) => {
      if (!both.aborted)
        this.#options.logger.error('a probe ended', { error: toError(error).message })
    })
  }

  async #terminate(graceMs: number): Promise<void> {
    const { spec, clock, event, actionTarget } = this.#options
    const live = this.#live
    if (live === undefined) return
    if (this.#termination !== undefined) {
      this.#termination.shorten(graceMs)
      await live.process.exit
      return
    }
    this.#termination = new Termination({
      process: live.process,
      clock,
      preStop: spec.lifecycle?.preStop,
      target: actionTarget(live.process),
      onHookFailure: (output) =>
        event('Warning', 'FailedPreStopHook', `PreStopHook failed: ${output}`),
    })
    await this.#termination.run(graceMs)
  }

  /** The first restart comes at once; then 10 s, 20 s ... 5 min; a long good run starts over. */
  async #backOff(outcome: Outcome, ranMs: number): Promise<void> {
    const { clock, event, spec } = this.#options
    const { signal } = this.#stopping
    if (outcome.kind === 'retry') {
      this.#delayMs = Math.min(
        Math.max(this.#delayMs * 2, limits.retryInitialMs),
        limits.retryMaxMs,
      )
      const { waiting } = this.#state
      if (waiting?.reason === 'ErrImagePull') {
        await sleep(clock, limits.retryInitialMs, signal)
        event('Normal', 'BackOff', `Back-off pulling image "${spec.image}"`)
        this.#wait(
          'ImagePullBackOff',
          `Back-off pulling image "${spec.image}": ${waiting.message ?? ''}`,
        )
      }
      return sleep(clock, this.#delayMs, signal)
    }
    if (ranMs >= limits.restartBackoffResetMs) this.#delayMs = 0
    const delayMs = this.#delayMs
    this.#delayMs = Math.min(
      Math.max(delayMs * 2, limits.restartBackoffMs),
      limits.restartBackoffMaxMs,
    )
    if (delayMs === 0) return
    this.#lastState = this.#state
    const message = `back-off ${delayMs / 1000}s restarting failed container=${spec.name}`
    event('Warning', 'BackOff', `Back-off restarting failed container ${spec.name}`)
    this.#wait('CrashLoopBackOff', message)
    await sleep(clock, delayMs, signal)
  }

  #restarts(code: number): boolean {
    const { restartPolicy, role } = this.#options
    if (role === 'init') return code !== 0 && restartPolicy !== 'Never'
    return restartPolicy === 'Always' || (restartPolicy === 'OnFailure' && code !== 0)
  }

  #wait(reason: string, message: string): void {
    this.#set({ waiting: { reason, message } })
  }

  #set(state: ContainerState): void {
    this.#state = state
    this.#options.changed()
  }

  #setStarted(started: boolean): void {
    this.#started = started
    if (started) this.#startedOnce.resolve()
  }
}

/** After a reboot or kill -9 nothing runs any more, whatever the status says. */
function resume(
  previous: ContainerStatus | undefined,
  now: string,
): { attempt: number; lastState: ContainerState } {
  if (previous === undefined) return { attempt: -1, lastState: {} }
  const { state, lastState, restartCount, containerID } = previous
  const { running, terminated } = state
  const ran =
    running !== undefined || terminated !== undefined || lastState.terminated !== undefined
  if (!ran) return { attempt: -1, lastState: {} }
  if (terminated !== undefined) return { attempt: restartCount, lastState: { terminated } }
  if (running === undefined) return { attempt: restartCount, lastState }
  const lost: Terminated = {
    exitCode: 255,
    reason: 'Unknown',
    message: 'the node restarted while the container was running',
    startedAt: running.startedAt,
    finishedAt: now,
    ...(containerID === undefined ? {} : { containerID }),
  }
  return { attempt: restartCount, lastState: { terminated: lost } }
}

function newContainerId(): string {
  return `weft://${Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('hex')}`
}
