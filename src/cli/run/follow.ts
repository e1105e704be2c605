/**
 * Follows one pod of `weft run` from its creation to its end: its log to standard output, what happens to it
 * to standard error. Breaks of the connection (a registry that restarts) are bridged.
 */
import { type Clock, MeshError, sleep, toError } from '../../base/index.ts'
import type { ClosableKubeClient } from '../../client/index.ts'
import { isApiError, type KubeObject, resources } from '../../kube/index.ts'

export type RunPodObject = KubeObject<
  unknown,
  {
    readonly phase?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly containerStatuses?: readonly {
      readonly lastState?: { readonly terminated?: { readonly exitCode: number } }
      readonly state?: {
        readonly waiting?: { readonly reason?: string; readonly message?: string }
        readonly running?: object
        readonly terminated?: { readonly exitCode: number; readonly message?: string }
      }
    }[]
  }
>

export interface FollowOptions {
  readonly client: ClosableKubeClient
  readonly pod: KubeObject
  readonly clock: Clock
  /** The log, as it comes; undefined: not wanted. */
  readonly onLog: ((chunk: Buffer) => void) | undefined
  /** Once, when the pod is ready. */
  readonly onReady: () => void
  readonly note: (text: string) => void
  /** Ends the wait, not the pod. */
  readonly signal: AbortSignal
  /** Return when it is ready, not when it has ended. */
  readonly untilReady: boolean
  /** The port that the readiness probe tries, for the hint. */
  readonly probedPort: number | undefined
}

/** Reasons for which waiting on would be in vain. */
const fatal = [
  'ErrImagePull',
  'ImagePullBackOff',
  'CreateContainerError',
  'CreateContainerConfigError',
]
/** After this time without being ready the user is told what it may be. */
const slowMs = 5_000

/** The exit code of the command; undefined when it was not waited for. Rejects when it can't start. */
export async function followPod(options: FollowOptions): Promise<number | undefined> {
  const { clock, signal, onReady, note, probedPort } = options
  const ends = new AbortController()
  const both = AbortSignal.any([signal, ends.signal])
  let log: Promise<void> | undefined
  let ready = false
  const timer = clock.after(slowMs, () => {
    if (ready) return
    const listens = `: does it listen on port ${probedPort} of all addresses (0.0.0.0)?`
    note(`not ready yet${probedPort === undefined ? '' : listens}`)
  })
  try {
    for await (const pod of states(options, both)) {
      if (pod === undefined) throw deleted(options.pod)
      const state = pod.status?.containerStatuses?.[0]?.state
      if (state?.waiting !== undefined) refuseFatal(pod, state.waiting)
      if (options.untilReady && !ready) refuseCrash(pod)
      if (state?.running !== undefined || state?.terminated !== undefined) {
        log ??= followLog(options)
      }
      if (!ready && isReady(pod)) {
        ready = true
        onReady()
        if (options.untilReady) return undefined
      }
      if (state?.terminated === undefined || !isEnded(pod)) continue
      // What it said last comes before the prompt.
      await log
      if (state.terminated.exitCode === 128 && state.terminated.message !== undefined) {
        note(state.terminated.message)
      }
      return state.terminated.exitCode
    }
    return undefined
  } finally {
    timer.cancel()
    ends.abort()
  }
}

/** The pod as it is, and at each change; undefined once when it is gone. Ends when the signal aborts. */
async function* states(
  options: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<RunPodObject | undefined> {
  const { client, clock } = options
  const { name, namespace, uid } = options.pod.metadata
  while (!signal.aborted) {
    try {
      const pod = await client.get<RunPodObject>(resources.pods, namespace, name)
      if (pod === undefined || pod.metadata.uid !== uid) return yield undefined
      yield pod
      const watch = {
        ...(namespace === undefined ? {} : { namespace }),
        fieldSelector: `metadata.name=${name}`,
        resourceVersion: pod.metadata.resourceVersion ?? '',
      }
      for await (const event of client.watch<RunPodObject>(resources.pods, watch, signal)) {
        if (event.type === 'DELETED') return yield undefined
        yield event.object
      }
    } catch (error) {
      if (signal.aborted) return
      if (isApiError(error) && !error.retryable && error.status.code !== 410) throw error
    }
    await sleep(clock, 300, signal).catch(() => {})
  }
}

async function followLog({
  client,
  pod,
  clock,
  onLog,
  note,
  signal,
}: FollowOptions): Promise<void> {
  if (onLog === undefined) return
  const { name, namespace } = pod.metadata
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log?follow=true`
  let any = false
  for (let tries = 0; tries < 5 && !any && !signal.aborted; tries++) {
    try {
      return await client.stream(path, (chunk) => {
        any = true
        onLog(chunk)
      })
    } catch (error) {
      if (any) return note(`the log broke off: ${toError(error).message}`)
      // The status is sometimes ahead of the log.
      await sleep(clock, 200, signal).catch(() => {})
    }
  }
}

function isReady(pod: RunPodObject): boolean {
  return (
    pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ===
    true
  )
}

function isEnded(pod: RunPodObject): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

function refuseFatal(pod: RunPodObject, waiting: { reason?: string; message?: string }): void {
  const { reason = '', message = reason } = waiting
  if (!fatal.includes(reason)) return
  throw new MeshError('CLI_RUN_START', `pod ${pod.metadata.name} can't start: ${message}`)
}

/** A detached program that ended before it was ready will not get better by being started again. */
function refuseCrash(pod: RunPodObject): void {
  const status = pod.status?.containerStatuses?.[0]
  const ended = status?.state?.terminated ?? status?.lastState?.terminated
  if (ended === undefined) return
  const { namespace, name } = pod.metadata
  throw new MeshError(
    'CLI_RUN_CRASH',
    `the program ended with code ${ended.exitCode} before it was ready`,
    {
      hint: `What it said: weft logs -n ${namespace} ${name} -p. The pod stays, and is tried again with growing pauses.`,
    },
  )
}

function deleted(pod: KubeObject): MeshError {
  const { namespace, name } = pod.metadata
  return new MeshError('CLI_RUN_DELETED', `the pod ${namespace}/${name} was deleted meanwhile`)
}
