/**
 * Aggregated ClusterRoles: their rules are those of all ClusterRoles that their selectors find, written into
 * the role itself, so that people and programs can read what it allows. Roles may be parts of parts; the
 * rounds end because rules are only ever joined.
 */
import { type Clock, type Logger, toError } from '../../base/index.ts'
import {
  formatTime,
  type KubeObject,
  type LabelSelector,
  labelSelectorMatches,
} from '../../kube/index.ts'
import { applyServerSide } from '../../patch/index.ts'
import type { SchemaRegistry } from '../../schema/index.ts'
import { limits } from '../limits.ts'
import { type ObjectStore, StaleWrite } from '../store/objects.ts'
import { type JsonMap, listOf, sameValue, valueAt } from '../values.ts'
import { ruleOf } from './rbac.ts'

const bucketId = 'rbac.authorization.k8s.io/clusterroles'
const apiVersion = 'rbac.authorization.k8s.io/v1'
const manager = 'clusterrole-aggregation-controller'

export interface RoleAggregationOptions {
  readonly store: ObjectStore
  readonly schemas: SchemaRegistry
  readonly clock: Clock
  readonly logger: Logger
}

export class RoleAggregation {
  readonly #options: RoleAggregationOptions
  #running: Promise<void> | undefined
  #again = false

  constructor(options: RoleAggregationOptions) {
    this.#options = options
  }

  /** Brings all roles up to date, and keeps them so. */
  async start(): Promise<void> {
    const bucket = this.#options.store.bucket(bucketId)
    bucket.listen(() => void this.#run())
    await this.#run()
  }

  #run(): Promise<void> {
    this.#again = true
    this.#running ??= this.#rounds()
    return this.#running
  }

  async #rounds(): Promise<void> {
    for (let round = 0; this.#again && round < limits.aggregationRoundsMax; round++) {
      this.#again = false
      // Changes come in groups, and one round sees all of a group.
      await new Promise((resolve) => setImmediate(resolve))
      try {
        await this.#round()
      } catch (error) {
        if (error instanceof StaleWrite) this.#again = true
        else {
          const { message } = toError(error)
          this.#options.logger.warn('aggregated roles are out of date', { error: message })
        }
      }
    }
    this.#running = undefined
  }

  async #round(): Promise<void> {
    const { store } = this.#options
    const bucket = store.bucket(bucketId)
    const entries = bucket.list()
    const roles = entries.map((entry) => entry.parse())
    const writes: Promise<unknown>[] = []
    for (const [i, role] of roles.entries()) {
      const rules = aggregatedRules(role, roles)
      const entry = entries[i]
      if (rules === undefined || entry === undefined) continue
      if (sameValue(rules, valueAt(role, 'rules') ?? [])) continue
      const next = this.#applied(role, rules)
      // Those that come later build on it: two roles that are parts of each other would swap their rules for ever.
      roles[i] = next
      const place = { namespace: '', name: role.metadata.name }
      writes.push(store.write(bucket, place, entry, next))
    }
    await Promise.all(writes)
  }

  #applied(role: KubeObject, rules: readonly JsonMap[]): KubeObject {
    const { schemas, clock } = this.#options
    const kind = { group: 'rbac.authorization.k8s.io', version: 'v1', kind: 'ClusterRole' }
    const { object } = applyServerSide({
      live: role as unknown as JsonMap,
      config: { apiVersion, kind: 'ClusterRole', metadata: { name: role.metadata.name }, rules },
      manager,
      force: true,
      schema: schemas.get(kind)?.node,
      apiVersion,
      time: formatTime(clock.now()),
    })
    return object as unknown as KubeObject
  }
}

/** What the selectors of a role find, in the order of names; undefined for a role without any. */
function aggregatedRules(role: KubeObject, all: readonly KubeObject[]): JsonMap[] | undefined {
  const selectors = listOf(valueAt(role, 'aggregationRule.clusterRoleSelectors')) as LabelSelector[]
  if (selectors.length === 0) return undefined
  const found = all
    .filter((other) => other.metadata.name !== role.metadata.name)
    .filter(({ metadata }) => selectors.some((each) => labelSelectorMatches(each, metadata.labels)))
    .flatMap((other) => listOf(valueAt(other, 'rules')))
  const seen = new Map(found.map((rule) => [JSON.stringify(ruleOf(rule)), rule]))
  return [...seen.values()]
}
