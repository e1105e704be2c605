/**
 * The node agent: brings every pod of the node to the state that its labels ask for. Level-triggered:
 * whatever happens (pod, namespace, sandbox, proxy), the pod's key is queued and compared anew.
 * Order of joining: namespace → proxy → rules → annotation. Differs from Istio, which writes the rules before the
 * proxy listens: connections of a running pod would be refused in between. When the proxy is away the rules
 * stay, so an enrolled pod never sends plaintext (fail closed).
 */
import { type Logger, sabotaged, type Timer, toError } from '../base/index.ts'
import { WorkQueue } from '../client/index.ts'
import { resources } from '../kube/index.ts'
import { closeFd, dupFd, inodeOf, openNetns } from '../linux/index.ts'
import { type ZdsPodState, ZdsServer } from '../zds/index.ts'
import { RedirectionAnnotator } from './annotator.ts'
import {
  defaultSelectors,
  type EligibilityOptions,
  hasEnded,
  isEligible,
  redirectionAnnotation,
  ruleOptionsOf,
} from './eligibility.ts'
import { limits } from './limits.ts'
import { choosePodRules, hasIpv6, type PodRules } from './pod-rules.ts'
import type { Enrolment, NodeAgent, NodeAgentOptions, Pod } from './types.ts'

/** A pod for which something was done: rules, a place at the proxy, an open namespace. */
interface Member {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  netnsFd: number
  inode: bigint
  /** The applied rules, as text to compare with; undefined when none are there. */
  rules: string | undefined
  offered: boolean
  /** Descriptors of former sandboxes which the ZDS server may still hand out. */
  readonly retired: number[]
  /** Why a proxy that is there could not serve the pod, as last said in an event. */
  refusal: string | undefined
  /** Runs while the pod has left but its proxy still serves what is open. */
  drain: Timer | undefined
}

/** Makes the agent; `start` needs the informers to be in sync. */
export function createNodeAgent(options: NodeAgentOptions): NodeAgent {
  return new Agent(options)
}

class Agent implements NodeAgent {
  readonly #options: NodeAgentOptions
  readonly #logger: Logger
  readonly #eligibility: EligibilityOptions
  readonly #queue: WorkQueue
  readonly #zds: ZdsServer
  readonly #annotator: RedirectionAnnotator
  readonly #pods = new Map<string, Pod>()
  readonly #members = new Map<string, Member>()
  readonly #admissions = new Map<string, PromiseWithResolvers<Enrolment>[]>()
  #removers: (() => void)[] = []
  #rules: PodRules | undefined

  constructor(options: NodeAgentOptions) {
    const { logger, clock, client } = options
    this.#options = options
    this.#logger = logger
    this.#eligibility = {
      selectors: options.enablementSelectors ?? defaultSelectors,
      excludeNamespaces: options.excludeNamespaces ?? ['kube-system'],
      systemNamespace: options.systemNamespace ?? 'istio-system',
    }
    this.#queue = new WorkQueue({
      name: 'enrolment',
      work: (uid) => this.#reconcile(uid),
      clock,
      logger,
      concurrency: limits.concurrency,
    })
    this.#zds = new ZdsServer({
      path: options.socketPath,
      logger: logger.child('zds'),
      clock,
      onState: (uid) => this.#queue.add(uid),
    })
    this.#annotator = new RedirectionAnnotator(client)
  }

  get proxies(): number {
    return this.#zds.proxies
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { informers, netns, tools = [], backend } = this.#options
    this.#rules = await choosePodRules({
      tools,
      logger: this.#logger,
      ...(backend === undefined ? {} : { backend }),
    })
    await this.#zds.start(signal)
    await this.#queue.start()
    const changed = (pod: Pod): void => this.#podChanged(pod)
    this.#removers = [
      informers.pods.on({
        added: changed,
        updated: changed,
        deleted: (pod) => this.#podDeleted(pod),
      }),
      informers.namespaces.on({
        updated: (object) => this.#namespaceChanged(object.metadata.name),
      }),
      netns.onChange((uid) => this.#queue.add(uid)),
    ]
  }

  /** Rules and annotations stay: pods remain captured, and the next agent takes over from there. */
  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    // Together: work in progress may be waiting for a proxy's answer.
    await Promise.all([this.#queue.stop(), this.#zds.stop()])
    for (const member of this.#members.values()) {
      member.drain?.cancel()
      closeAll(member)
    }
    this.#members.clear()
    for (const uid of this.#admissions.keys()) {
      const stopping = new Error('the node agent is stopping')
      for (const waiter of this.#takeWaiters(uid)) waiter.reject(stopping)
    }
  }

  admit(pod: Pod): Promise<Enrolment> {
    const { uid = '' } = pod.metadata
    if (!this.#isLocal(pod)) return Promise.resolve('excluded')
    if (!this.#pods.has(uid)) this.#pods.set(uid, pod)
    const waiter = Promise.withResolvers<Enrolment>()
    const waiters = this.#admissions.get(uid) ?? []
    waiters.push(waiter)
    this.#admissions.set(uid, waiters)
    this.#queue.add(uid)
    return waiter.promise
  }

  list(): ReturnType<NodeAgent['list']> {
    return [...this.#members.values()]
      .filter((member) => member.drain === undefined)
      .map(({ uid, namespace, name }) => {
        const state = this.#zds.stateOf(uid)
        return {
          uid,
          namespace,
          name,
          state: state?.state ?? 'pending',
          ...(state?.state === 'pending' ? { reason: state.reason } : {}),
        }
      })
  }

  #podChanged(pod: Pod): void {
    const { uid } = pod.metadata
    if (uid === undefined || !this.#isLocal(pod)) return
    this.#pods.set(uid, pod)
    this.#queue.add(uid)
  }

  #podDeleted(pod: Pod): void {
    const { uid } = pod.metadata
    if (uid !== undefined && this.#pods.delete(uid)) this.#queue.add(uid)
  }

  #namespaceChanged(name: string): void {
    for (const [uid, pod] of this.#pods) if (pod.metadata.namespace === name) this.#queue.add(uid)
  }

  #isLocal(pod: Pod): boolean {
    const { nodeName } = this.#options
    return nodeName === undefined || pod.spec?.nodeName === nodeName
  }

  async #reconcile(uid: string): Promise<void> {
    // Those who ask from here on wait for the next run, which sees what they see.
    const waiters = this.#takeWaiters(uid)
    try {
      const enrolment = await this.#bringToState(uid)
      for (const waiter of waiters) waiter.resolve(enrolment)
    } catch (error) {
      for (const waiter of waiters) waiter.reject(toError(error))
      throw error
    }
  }

  #takeWaiters(uid: string): PromiseWithResolvers<Enrolment>[] {
    const waiters = this.#admissions.get(uid) ?? []
    this.#admissions.delete(uid)
    return waiters
  }

  async #bringToState(uid: string): Promise<Enrolment> {
    const pod = this.#pods.get(uid)
    const member = this.#members.get(uid)
    const sandbox = this.#options.netns.netnsOf(uid)
    if (pod === undefined || sandbox === undefined || hasEnded(pod)) {
      if (member !== undefined) await this.#forget(member)
      return pod !== undefined && (await this.#isWanted(pod)) ? 'waiting' : 'excluded'
    }
    if (await this.#isWanted(pod)) return this.#join(pod, sandbox)
    if (member !== undefined) await this.#leave(member, pod)
    // Left over from an agent that did not see the label go.
    else if (pod.metadata.annotations?.[redirectionAnnotation] !== undefined)
      await this.#cleanUp(pod, sandbox)
    return 'excluded'
  }

  async #isWanted(pod: Pod): Promise<boolean> {
    if (sabotaged('enrolment')) return false
    const { informers, client } = this.#options
    const name = pod.metadata.namespace ?? ''
    // The pod may be known before its namespace is in the cache.
    const namespace =
      informers.namespaces.get(name) ?? (await client.get(resources.namespaces, undefined, name))
    return isEligible(pod, namespace?.metadata.labels, this.#eligibility)
  }

  async #join(pod: Pod, sandbox: { fd?: number; path: string }): Promise<Enrolment> {
    const { uid = '', namespace = '', name } = pod.metadata
    const member = this.#open(pod, sandbox)
    member.drain?.cancel()
    member.drain = undefined
    // A pod that runs already must not meet a redirection to a port where nobody listens yet. Without
    // a proxy there is nothing to wait for: the rules come first, and hold the traffic back.
    if (this.#zds.proxies === 0) await this.#applyRules(member, pod)
    let state = this.#zds.stateOf(uid)
    if (!member.offered || state === undefined) {
      const serviceAccount = pod.spec?.serviceAccountName ?? 'default'
      const { netnsFd } = member
      state = await this.#zds.add({ uid, info: { name, namespace, serviceAccount }, netnsFd })
      member.offered = true
    }
    await this.#applyRules(member, pod)
    for (const fd of member.retired.splice(0)) closeFd(fd)
    this.#explain(pod, member, state)
    await this.#annotateState(pod, state)
    return state.state
  }

  /** Tells the pod's owner, once, when the node proxy is there but can't serve the pod. */
  #explain(pod: Pod, member: Member, state: ZdsPodState): void {
    const refused = state.state === 'pending' && state.noProxy !== true
    const reason = refused ? state.reason : undefined
    if (reason === member.refusal) return
    member.refusal = reason
    if (reason === undefined) return
    const hint = reason.includes('EADDRINUSE')
      ? '. Ports 15001, 15006, 15008 and 15053 belong to the node proxy in a pod of the mesh: let the program ' +
        'use another one, or leave the pod out with the label istio.io/dataplane-mode=none'
      : ''
    const message = `the node proxy can't serve this pod, its connections fail until it does: ${reason}${hint}`
    this.#options.events?.record(pod, 'Warning', 'NotInMesh', message)
  }

  async #annotateState(pod: Pod, state: ZdsPodState): Promise<void> {
    // While no proxy is connected, what the last one serves (or served) stays announced: peers that
    // fell back to plaintext would be refused by a STRICT pod, and by every pod without a proxy.
    const waiting = state.state === 'pending' && state.noProxy === true
    if (waiting && pod.metadata.annotations?.[redirectionAnnotation] === 'enabled') return
    if (await this.#annotate(pod, state.state)) this.#announce(pod, state)
  }

  #announce(pod: Pod, state: ZdsPodState): void {
    const { namespace = '', name } = pod.metadata
    if (state.state === 'enabled')
      this.#logger.info('pod joined the mesh', { namespace, pod: name })
    else
      this.#logger.warn('pod is captured but has no proxy', {
        namespace,
        pod: name,
        reason: state.reason,
      })
  }

  /** The member of this pod with the namespace that it has now. */
  #open(pod: Pod, sandbox: { fd?: number; path: string }): Member {
    const { uid = '', namespace = '', name } = pod.metadata
    const netnsFd = sandbox.fd === undefined ? openNetns(sandbox.path) : dupFd(sandbox.fd)
    const inode = inodeOf(netnsFd)
    const known = this.#members.get(uid)
    if (known === undefined) {
      const made = {
        uid,
        namespace,
        name,
        netnsFd,
        inode,
        rules: undefined,
        offered: false,
        retired: [],
        refusal: undefined,
        drain: undefined,
      }
      this.#members.set(uid, made)
      return made
    }
    if (known.inode === inode) {
      closeFd(netnsFd)
      return known
    }
    // The sandbox was made anew: rules and proxy belong to the old one.
    known.retired.push(known.netnsFd)
    Object.assign(known, { netnsFd, inode, rules: undefined, offered: false })
    return known
  }

  async #applyRules(member: Member, pod: Pod): Promise<void> {
    const { dnsCapture = true, ipv6 = true, events } = this.#options
    const { options, problems } = ruleOptionsOf(pod, { dnsCapture })
    const wanted = { ...options, ipv6: ipv6 && hasIpv6(member.netnsFd) }
    const text = JSON.stringify(wanted)
    if (member.rules === text) return
    for (const problem of problems) events?.record(pod, 'Warning', 'InvalidAnnotation', problem)
    try {
      await this.#podRules.apply(member.netnsFd, wanted)
    } catch (error) {
      const { message } = toError(error)
      const hint = (error as { hint?: string }).hint ?? ''
      events?.record(
        pod,
        'Warning',
        'RedirectionFailed',
        `the pod is not in the mesh: ${message} ${hint}`.trim(),
      )
      throw error
    }
    member.rules = text
  }

  /** The pod runs on without the mesh: rules first, so that what it does from now on is direct. */
  async #leave(member: Member, pod: Pod): Promise<void> {
    if (sabotaged('leave')) return
    const { drainMs = limits.drainMs, clock } = this.#options
    if (member.drain === undefined) {
      await this.#podRules.remove(member.netnsFd)
      member.rules = undefined
      if (drainMs === 0) await this.#forget(member)
      else {
        const end = (): void =>
          void this.#forget(member).catch((error) => this.#logError(member, error))
        member.drain = clock.after(drainMs, end, { background: true })
      }
      this.#logger.info('pod left the mesh', { namespace: member.namespace, pod: member.name })
    }
    await this.#annotate(pod, null)
  }

  async #cleanUp(pod: Pod, sandbox: { fd?: number; path: string }): Promise<void> {
    const netnsFd = sandbox.fd === undefined ? openNetns(sandbox.path) : dupFd(sandbox.fd)
    try {
      await this.#podRules.remove(netnsFd)
    } finally {
      closeFd(netnsFd)
    }
    await this.#annotate(pod, null)
  }

  /** False when the pod had it already, or is gone. */
  async #annotate(pod: Pod, value: 'enabled' | 'pending' | null): Promise<boolean> {
    const { uid = '' } = pod.metadata
    const patched = await this.#annotator.write(pod, value)
    if (patched !== undefined && this.#pods.has(uid)) this.#pods.set(uid, patched)
    return patched !== undefined
  }

  /** Gives up the place at the proxy and the descriptor; the rules go with the namespace, or are gone. */
  async #forget(member: Member): Promise<void> {
    if (this.#members.get(member.uid) !== member) return
    this.#members.delete(member.uid)
    member.drain?.cancel()
    try {
      await this.#zds.delete(member.uid)
    } finally {
      closeAll(member)
    }
  }

  #logError(member: Member, error: unknown): void {
    const { namespace, name } = member
    this.#logger.error('removing a pod failed', {
      namespace,
      pod: name,
      error: toError(error).message,
    })
  }

  get #podRules(): PodRules {
    if (this.#rules === undefined) throw new Error('the node agent has not been started')
    return this.#rules
  }
}

function closeAll(member: Member): void {
  for (const fd of [member.netnsFd, ...member.retired.splice(0)]) closeFd(fd)
}
