/**
 * The resources of L7 proxies. Proxies with equal views share one translation: it is made when the first of them
 * is there, follows every change by what that touched, and goes a while after the last of them.
 */
import type { Clock, Logger, Timer } from '../base/index.ts'
import type { Snapshot } from '../model/index.ts'
import { typeUrl } from '../proto/index.ts'
import {
  type KeySets,
  Memo,
  type Problem,
  type ProxyView,
  SharedUnits,
  type TranslatedResource,
  ViewTranslation,
  viewKey,
} from '../translate/index.ts'
import type { ProxyNode } from '../xds/index.ts'
import { envoyTypes } from './envoy-json.ts'
import { ChangeLog } from './resource-table.ts'
import { viewOf, workloadUid } from './views-proxy.ts'
import { type ReviewSecrets, SecretAccess } from './views-secrets.ts'

export const viewTypes: ReadonlySet<string> = new Set([
  typeUrl.cluster,
  typeUrl.endpoint,
  typeUrl.listener,
  typeUrl.route,
  typeUrl.secret,
  typeUrl.extensionConfig,
])

/** A proxy that lost its stream is back within seconds; its view waits so long. */
const idleMs = 30_000

export interface ProxyViewsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly reviewSecrets: ReviewSecrets
  /** Something differs though the mesh does not. */
  readonly changed: (log: ChangeLog) => void
}

interface Shared {
  readonly key: string
  readonly translation: ViewTranslation
  readonly users: Set<ProxyNode>
  timer: Timer | undefined
}

interface Known {
  readonly view: ProxyView | undefined
  readonly key: string
}

export class ProxyViews {
  readonly #options: ProxyViewsOptions
  readonly #access: SecretAccess
  readonly #memo = new Memo()
  readonly #units = new SharedUnits()
  readonly #shared = new Map<string, Shared>()
  /** What a proxy was when it came, for as long as it stays. */
  readonly #known = new WeakMap<ProxyNode, Known>()
  /** Connected proxies by the workload they are in. */
  readonly #joined = new Map<string, Set<ProxyNode>>()
  /** Problems that were told, so that each is told once. */
  #told = new Set<string>()
  #snapshot: Snapshot
  #keySets: KeySets

  constructor(snapshot: Snapshot, keySets: KeySets, options: ProxyViewsOptions) {
    this.#snapshot = snapshot
    this.#keySets = keySets
    this.#options = options
    const { clock, logger, reviewSecrets: review } = options
    const changed = this.#secretsChanged.bind(this)
    this.#access = new SecretAccess({ review, clock, logger, changed })
  }

  /** Follows the mesh to a snapshot, in which these dependencies differ. */
  update(snapshot: Snapshot, keySets: KeySets, keys: ReadonlySet<string>, log: ChangeLog): void {
    this.#snapshot = snapshot
    this.#keySets = keySets
    this.#memo.invalidate(keys)
    this.#units.invalidate(keys)
    for (const { translation } of this.#shared.values()) {
      if (!translation.isStale(keys, this.#units)) continue
      for (const { typeUrl: type, name } of translation.update(this.#input(), keys)) {
        log.add(type, name)
      }
      this.#tell(translation.problems)
    }
  }

  list(type: string, proxy: ProxyNode): readonly TranslatedResource[] {
    const translation = this.#of(proxy)?.translation
    return translation === undefined || this.#isHidden(type, translation)
      ? []
      : translation.list(type)
  }

  get(type: string, name: string, proxy: ProxyNode): TranslatedResource | undefined {
    const translation = this.#of(proxy)?.translation
    return translation === undefined || this.#isHidden(type, translation)
      ? undefined
      : translation.get(type, name)
  }

  /** Equal for proxies that share their resources; empty for those that have none. */
  keyOf(proxy: ProxyNode): string {
    return this.#knownOf(proxy).key
  }

  viewOf(proxy: ProxyNode): ProxyView | undefined {
    return this.#knownOf(proxy).view
  }

  joined(proxy: ProxyNode): void {
    if (this.viewOf(proxy) === undefined) return
    const uid = workloadUid(proxy)
    this.#joined.set(uid, (this.#joined.get(uid) ?? new Set()).add(proxy))
    const shared = this.#shared.get(this.keyOf(proxy))
    if (shared !== undefined) this.#use(shared, proxy)
  }

  left(proxy: ProxyNode): void {
    const uid = workloadUid(proxy)
    const others = this.#joined.get(uid)
    others?.delete(proxy)
    if (others?.size === 0) this.#joined.delete(uid)
    const shared = this.#shared.get(this.keyOf(proxy))
    if (shared?.users.delete(proxy) === true) this.#expire(shared)
  }

  /**
   * Proxies which are no longer what they were when they came: another view is theirs.
   * @param uids of the workloads that changed; absent: all
   */
  moved(uids: Iterable<string> = this.#joined.keys()): ProxyNode[] {
    const proxies = [...uids].flatMap((uid) => [...(this.#joined.get(uid) ?? [])])
    return proxies.filter((proxy) => {
      const view = viewOf(proxy, this.#snapshot)
      return (view === undefined ? '' : viewKey(view)) !== this.keyOf(proxy)
    })
  }

  /** What is wrong with objects, as the views in use see it. */
  get problems(): readonly Problem[] {
    const found = new Map<string, Problem>()
    for (const { translation } of this.#shared.values()) {
      for (const problem of translation.problems) found.set(problemKey(problem), problem)
    }
    return [...found].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, one]) => one)
  }

  get size(): number {
    return this.#shared.size
  }

  /** How much is remembered across views. */
  get memoSize(): number {
    return this.#memo.size
  }

  #isHidden(type: string, { view }: ViewTranslation): boolean {
    return type === typeUrl.secret && !this.#access.allows(view)
  }

  #secretsChanged(namespace: string, account: string): void {
    const log = new ChangeLog()
    for (const { translation } of this.#shared.values()) {
      const { view } = translation
      if (view.namespace !== namespace || view.serviceAccount !== account) continue
      for (const { name } of translation.list(typeUrl.secret)) log.add(typeUrl.secret, name)
    }
    this.#options.changed(log)
  }

  #knownOf(proxy: ProxyNode): Known {
    let known = this.#known.get(proxy)
    if (known === undefined) {
      const view = viewOf(proxy, this.#snapshot)
      known = { view, key: view === undefined ? '' : viewKey(view) }
      this.#known.set(proxy, known)
    }
    return known
  }

  #of(proxy: ProxyNode): Shared | undefined {
    const { view, key } = this.#knownOf(proxy)
    if (view === undefined) return undefined
    let shared = this.#shared.get(key)
    if (shared === undefined) {
      const translation = new ViewTranslation(view)
      shared = { key, translation, users: new Set(), timer: undefined }
      this.#shared.set(key, shared)
      translation.update(this.#input(), nothingTouched)
      this.#tell(translation.problems)
      this.#expire(shared)
    }
    if (this.#joined.get(workloadUid(proxy))?.has(proxy) === true) this.#use(shared, proxy)
    return shared
  }

  #use(shared: Shared, proxy: ProxyNode): void {
    shared.users.add(proxy)
    shared.timer?.cancel()
    shared.timer = undefined
  }

  #expire(shared: Shared): void {
    if (shared.users.size > 0) return
    shared.timer?.cancel()
    const drop = (): void => {
      this.#shared.delete(shared.key)
      shared.translation.close(this.#units)
      this.#units.sweep()
      this.#memo.forget((key) => key.includes(shared.key))
    }
    shared.timer = this.#options.clock.after(idleMs, drop, { background: true })
  }

  #input(): Parameters<ViewTranslation['update']>[0] {
    return {
      snapshot: this.#snapshot,
      memo: this.#memo,
      shared: this.#units,
      keySets: this.#keySets,
      types: envoyTypes,
      failed: (unit, error) => {
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
        this.#options.logger.error('a part of a configuration failed; it stays as it was', {
          unit,
          error: text,
        })
      },
    }
  }

  #tell(problems: readonly Problem[]): void {
    for (const problem of problems) {
      const key = problemKey(problem)
      if (this.#told.has(key)) continue
      if (this.#told.size >= toldMax) this.#told = new Set()
      this.#told.add(key)
      const { config = 'MeshConfig', path, message } = problem
      this.#options.logger.warn(message, { config, path })
    }
  }
}

const nothingTouched: readonly string[] = []

/** Problems remembered as told; beyond that they are told again. */
const toldMax = 10_000

function problemKey({ config = '', path, message }: Problem): string {
  return `${config}|${path}|${message}`
}
