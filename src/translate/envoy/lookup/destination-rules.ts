/**
 * Which DestinationRule a client follows: its own namespace's, then the service's, then the root
 * namespace's; in each the most specific host. Rules for one host in one namespace become one.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  type ConfigObject,
  type DestinationRuleSpec,
  type Labels,
  type Service,
  type Subset,
  selects,
  type TrafficPolicy,
} from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'
import type { Reader } from '../../reader.ts'
import type { ProxyView } from '../proxy.ts'
import { expandHost, mostSpecific } from './hosts.ts'
import { exportedTo, exportList } from './visibility.ts'

type DestinationRule = ConfigObject<DestinationRuleSpec>

/** A subset and the object it stands in. */
export interface RuleSubset extends Subset {
  readonly name: string
  readonly config: string
}

/** One or several DestinationRules as one. */
export interface MergedRule {
  readonly namespace: string
  readonly host: string
  /** API path of the object that gives the policy: the oldest. */
  readonly config: string
  readonly policy: TrafficPolicy | undefined
  readonly subsets: readonly RuleSubset[]
  readonly exportTo: readonly string[]
  readonly selector: Labels | undefined
}

export function findDestinationRule(
  reader: Reader,
  view: Pick<ProxyView, 'namespace' | 'labels' | 'kind'>,
  service: Pick<Service, 'namespace' | 'hostname'>,
): MergedRule | undefined {
  const { rootNamespace } = reader.settings
  const own = view.namespace
  // A rule of the root namespace is everybody's last resort, for its own proxies as well.
  const order = [...(own === rootNamespace ? [] : [own]), service.namespace, rootNamespace]
  for (const namespace of new Set(order)) {
    const rules = rulesOf(reader, namespace)
    const visible = (rule: MergedRule): boolean =>
      namespace === own || exportedTo(rule.exportTo, namespace, own)
    const seen = [...rules].filter(([, list]) => list.some(visible)).map(([host]) => host)
    const host = mostSpecific(seen, service.hostname)
    if (host === undefined) continue
    const candidates = (rules.get(host) ?? []).filter(visible)
    const chosen = choose(candidates, view, namespace)
    if (chosen !== undefined) return chosen
  }
  return undefined
}

/** The rule for clients with these labels, completed by the one for all. */
function choose(
  candidates: readonly MergedRule[],
  view: Pick<ProxyView, 'namespace' | 'labels'>,
  namespace: string,
): MergedRule | undefined {
  const general = candidates.find((rule) => rule.selector === undefined)
  const special = candidates.find(
    (rule) =>
      rule.selector !== undefined &&
      namespace === view.namespace &&
      selects(rule.selector, view.labels),
  )
  if (special === undefined || general === undefined) return special ?? general
  return { ...special, ...joined(special, general) }
}

/** Rules by expanded host; several for one host only where `exportTo` or the selector differ. */
function rulesOf(reader: Reader, namespace: string): ReadonlyMap<string, readonly MergedRule[]> {
  return reader.memo(`destination-rules/${namespace}`, (inner) => {
    const byHost = new Map<string, MergedRule[]>()
    const objects = inner.configs('DestinationRule', namespace)
    const defaults = objects.length === 0 ? [] : inner.mesh().defaultDestinationRuleExportTo
    for (const object of objects) {
      const rule = single(object, inner.settings.domain, defaults)
      if (rule === undefined) continue
      const list = byHost.get(rule.host) ?? []
      byHost.set(rule.host, list)
      const at = list.findIndex((other) => sameAudience(other, rule))
      const known = list[at]
      if (known === undefined) list.push(rule)
      else list[at] = { ...known, ...joined(known, rule) }
    }
    return byHost
  })
}

function single(
  object: DestinationRule,
  domain: string,
  defaults: readonly string[],
): MergedRule | undefined {
  const { spec } = object
  if (spec.host === undefined || spec.host === '') return undefined
  const config = configPath(object)
  return {
    namespace: object.namespace,
    host: expandHost(spec.host, object.namespace, domain),
    config,
    policy: spec.trafficPolicy,
    subsets: (spec.subsets ?? []).flatMap((subset) =>
      subset.name === undefined ? [] : [{ ...subset, name: subset.name, config }],
    ),
    exportTo: exportList(spec.exportTo, defaults),
    selector: spec.workloadSelector?.matchLabels,
  }
}

function sameAudience(left: MergedRule, right: MergedRule): boolean {
  return (
    isDeepStrictEqual(new Set(left.exportTo), new Set(right.exportTo)) &&
    isDeepStrictEqual(left.selector, right.selector)
  )
}

/** The first's policy if it has any; the subsets of both, of equal names the first's. */
function joined(first: MergedRule, second: MergedRule): Pick<MergedRule, 'policy' | 'subsets'> {
  const names = new Set(first.subsets.map(({ name }) => name))
  return {
    policy: first.policy ?? second.policy,
    subsets: [...first.subsets, ...second.subsets.filter(({ name }) => !names.has(name))],
  }
}
