/**
 * The patches of EnvoyFilters that are for a view, in the order in which they hold: the root namespace's
 * before the proxy's own; among those by priority, then oldest first. Values are read once.
 */
import { fromJson, type JsonValue, type Message } from '@bufbuild/protobuf'
import {
  type ConfigObject,
  type EnvoyApplyTo,
  type EnvoyContext,
  type EnvoyFilterSpec,
  type EnvoyMatch,
  type EnvoyOperation,
  type EnvoyPatch,
  type TargetReference,
} from '../../../model/index.ts'
import type { FileRegistry } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { attaches, namespacesOf } from '../policies/attachment.ts'
import { type Problem, problemOf } from '../policies/problem.ts'
import { type ProxyView, viewKey } from '../proxy.ts'

export type PatchTarget = Exclude<EnvoyApplyTo, 'INVALID' | 'BOOTSTRAP'>

/** A patch that can be applied: its value is a message of the type that the target asks for. */
export interface Patch {
  readonly target: PatchTarget
  readonly operation: EnvoyOperation
  readonly match: EnvoyMatch
  readonly context: EnvoyContext
  /** Undefined for REMOVE alone. */
  readonly value: Message | undefined
  readonly filterClass: string
}

/** All of Envoy's types; to read them costs some time and memory, once. */
export type EnvoyTypes = () => FileRegistry

export interface Selected {
  readonly patches: readonly Patch[]
  readonly problems: readonly Problem[]
}

type EnvoyFilter = ConfigObject<EnvoyFilterSpec>

/** The message that the value of a patch is. */
const messages: Readonly<Record<PatchTarget, string>> = {
  LISTENER: 'envoy.config.listener.v3.Listener',
  FILTER_CHAIN: 'envoy.config.listener.v3.FilterChain',
  LISTENER_FILTER: 'envoy.config.listener.v3.ListenerFilter',
  NETWORK_FILTER: 'envoy.config.listener.v3.Filter',
  HTTP_FILTER: 'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter',
  ROUTE_CONFIGURATION: 'envoy.config.route.v3.RouteConfiguration',
  VIRTUAL_HOST: 'envoy.config.route.v3.VirtualHost',
  HTTP_ROUTE: 'envoy.config.route.v3.Route',
  CLUSTER: 'envoy.config.cluster.v3.Cluster',
  EXTENSION_CONFIG: 'envoy.config.core.v3.TypedExtensionConfig',
}

const merges = ['MERGE', 'MERGE_AND_REPLACE_LIST'] as const
const inserts = ['INSERT_BEFORE', 'INSERT_AFTER', 'INSERT_FIRST'] as const

/** What can be done to each. */
const operations: Readonly<Record<PatchTarget, readonly EnvoyOperation[]>> = {
  LISTENER: ['ADD', 'REMOVE', ...merges],
  FILTER_CHAIN: ['ADD', 'REMOVE', ...merges],
  LISTENER_FILTER: ['ADD', 'REMOVE', 'REPLACE', 'MERGE', ...inserts],
  NETWORK_FILTER: ['ADD', 'REMOVE', 'REPLACE', 'MERGE', ...inserts],
  HTTP_FILTER: ['ADD', 'REMOVE', 'REPLACE', 'MERGE', ...inserts],
  ROUTE_CONFIGURATION: [...merges],
  VIRTUAL_HOST: ['ADD', 'REMOVE', ...merges],
  HTTP_ROUTE: ['ADD', 'REMOVE', ...merges, ...inserts],
  CLUSTER: ['ADD', 'REMOVE', ...merges],
  EXTENSION_CONFIG: ['ADD'],
}

/** What a waypoint's context is for. */
const waypointTargets: ReadonlySet<PatchTarget> = new Set([
  'NETWORK_FILTER',
  'HTTP_FILTER',
  'HTTP_ROUTE',
  'CLUSTER',
])

const none: Selected = { patches: [], problems: [] }

export function patchesFor(
  reader: Reader,
  view: ProxyView,
  types: EnvoyTypes | undefined,
): Selected {
  return reader.memo(`envoy-filters/${viewKey(view)}`, (inner) => {
    const objects = filtersFor(inner, view)
    if (objects.length === 0) return none
    const selected = objects.map((object) => patchesOf(object, view, types))
    return {
      patches: selected.flatMap(({ patches }) => patches),
      problems: selected.flatMap(({ problems }) => problems),
    }
  })
}

function filtersFor(reader: Reader, view: ProxyView): EnvoyFilter[] {
  const { rootNamespace } = reader.settings
  return namespacesOf({ proxy: view }, rootNamespace).flatMap((namespace) =>
    reader
      .configs('EnvoyFilter', namespace)
      .filter((object) => isFor(object, view, rootNamespace))
      // Stable: of one priority the oldest stays first.
      .toSorted((left, right) => (left.spec.priority ?? 0) - (right.spec.priority ?? 0)),
  )
}

function isFor({ namespace, spec }: EnvoyFilter, view: ProxyView, rootNamespace: string): boolean {
  const { workloadSelector, targetRefs } = spec
  const attachment = {
    ...(targetRefs === undefined ? {} : { targetRefs }),
    ...(workloadSelector?.labels === undefined
      ? {}
      : { selector: { matchLabels: workloadSelector.labels } }),
  }
  return attaches({ namespace, spec: attachment }, { proxy: view }, rootNamespace)
}

function patchesOf(object: EnvoyFilter, view: ProxyView, types: EnvoyTypes | undefined): Selected {
  const patches: Patch[] = []
  const problems: Problem[] = serviceProblems(object)
  for (const [index, written] of (object.spec.configPatches ?? []).entries()) {
    const path = `/spec/configPatches/${index}`
    if (!matchesProxy(written, view)) continue
    const read = readPatch(written, view, types)
    if (typeof read === 'object') patches.push(read)
    else if (read !== '') problems.push(problemOf(object, path, read))
  }
  return { patches, problems }
}

function serviceProblems(object: EnvoyFilter): Problem[] {
  const isService = ({ kind = '' }: TargetReference): boolean =>
    kind === 'Service' || kind === 'ServiceEntry'
  return (object.spec.targetRefs ?? []).flatMap((reference, index) =>
    isService(reference)
      ? [
          problemOf(
            object,
            `/spec/targetRefs/${index}`,
            'a patch is for a whole proxy; aim it at the Gateway of the waypoint',
          ),
        ]
      : [],
  )
}

function matchesProxy({ match }: EnvoyPatch, view: ProxyView): boolean {
  const { proxyVersion = '', metadata = {} } = match?.proxy ?? {}
  if (proxyVersion !== '' && !versionMatches(proxyVersion, view.version)) return false
  return Object.entries(metadata).every(([key, value]) => view.metadata[key] === value)
}

/** A regular expression that is none matches nothing; `readPatch` says so. */
function versionMatches(pattern: string, version: string): boolean {
  try {
    const expression = new RegExp(pattern)
    return version !== '' && expression.test(version)
  } catch {
    return true
  }
}

/** The patch, why there is none, or nothing at all to say: it is for others. */
function readPatch(
  written: EnvoyPatch,
  view: ProxyView,
  types: EnvoyTypes | undefined,
): Patch | string {
  const { applyTo: target = 'INVALID', match = {}, patch = {} } = written
  const { operation = 'INVALID', value, filterClass = 'UNSPECIFIED' } = patch
  const { context = 'ANY' } = match
  if (target === 'BOOTSTRAP') {
    return 'the bootstrap is the start of a proxy and not patched from here; use ProxyConfig'
  }
  if (target === 'INVALID') return 'applyTo names nothing that can be patched'
  if (!isForKind(context, view.kind)) return ''
  if (!operations[target].includes(operation)) {
    return `${operation} can't be done to ${target}; it takes ${operations[target].join(', ')}`
  }
  if (context === 'WAYPOINT' && !waypointTargets.has(target)) {
    return `${target} of a waypoint can't be patched; use ${[...waypointTargets].join(', ')}`
  }
  if (operation === 'REPLACE' && !namesPlace(target, match)) {
    return `${operation} needs a match that names the ${place[target] ?? 'element'} it is about`
  }
  if (!isRegex(match.proxy?.proxyVersion)) return 'proxyVersion is no regular expression'
  const rest = { target, operation, match, context, filterClass }
  if (operation === 'REMOVE') return { ...rest, value: undefined }
  if (types === undefined) return "Envoy's types are not at hand; the patch is left out"
  const registry = types()
  const desc = registry.getMessage(messages[target])
  if (desc === undefined || value === undefined) return `${operation} needs a value`
  try {
    // Whatever JSON it is, the parser judges it.
    return { ...rest, value: fromJson(desc, value as JsonValue, { registry }) }
  } catch (error) {
    return `its value is no ${messages[target]}: ${error instanceof Error ? error.message : error}`
  }
}

function isRegex(pattern: string | undefined): boolean {
  try {
    return new RegExp(pattern ?? '') instanceof RegExp
  } catch {
    return false
  }
}

function isForKind(context: EnvoyContext, kind: ProxyView['kind']): boolean {
  if (kind === 'waypoint' || context === 'WAYPOINT')
    return (context === 'WAYPOINT') === (kind === 'waypoint')
  return context === 'ANY' || (context === 'GATEWAY') === (kind === 'gateway')
}

const place: Partial<Record<PatchTarget, string>> = {
  LISTENER_FILTER: 'listenerFilter',
  NETWORK_FILTER: 'filter',
  HTTP_FILTER: 'subFilter',
}

function namesPlace(target: PatchTarget, { listener, waypoint }: EnvoyMatch): boolean {
  const filter = listener?.filterChain?.filter ?? waypoint?.filter
  switch (target) {
    case 'LISTENER_FILTER':
      return (listener?.listenerFilter ?? '') !== ''
    case 'NETWORK_FILTER':
      return (filter?.name ?? '') !== ''
    case 'HTTP_FILTER':
      return (filter?.subFilter?.name ?? '') !== ''
    default:
      return true
  }
}
