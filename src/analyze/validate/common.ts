/** Checks that several kinds share: selectors, targets, visibility, header names, text matches. */
import type { Complaint, Place } from './findings.ts'
import { isDnsLabel, labelComplaints, quote, regex } from './values.ts'

/** `workloadSelector` of the networking kinds has `labels`, `selector` of the others `matchLabels`. */
export function checkSelector(
  selector: Place,
  field: 'labels' | 'matchLabels',
  wording: (text: string) => string = (text) => text,
): boolean {
  if (!selector.present) return true
  const { entries } = selector.at(field)
  let good = true
  for (const [key, { text }] of entries) {
    const pair = quote(`${key}=${text}`)
    if (key === '') good = selector.check(`empty key is not supported in selector: ${pair}`)
    if (key.includes('*') || text.includes('*')) {
      good = selector.check(`wildcard is not supported in selector: ${pair}`)
    }
  }
  if (good && entries.length === 0) {
    selector.warn(wording('workload selector specified without labels'))
  }
  return good
}

const targetKinds = new Set([
  '/Service',
  'core/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
])
const targetKindsText =
  '[core/v1/Service networking.istio.io/v1/ServiceEntry gateway.networking.k8s.io/v1/Gateway gateway.networking.k8s.io/v1/GatewayClass]'

/** `selector`, `targetRef` and `targetRefs` of a policy: at most one of them, each good in itself. */
export function checkTargets(spec: Place): void {
  const selector = spec.at('selector')
  const single = spec.at('targetRef')
  const list = spec.at('targetRefs')
  const count = [selector.present, single.present, list.items.length > 0].filter(Boolean).length
  if (count > 1) spec.error('only one of targetRefs or workloadSelector can be set')
  checkSelector(selector, 'matchLabels')
  for (const target of [...(single.present ? [single] : []), ...list.items]) checkTarget(target)
}

function checkTarget(target: Place): void {
  const [group, kind] = [target.at('group').text, target.at('kind').text]
  if (target.at('name').text === '') target.error('targetRef name must be set')
  if (target.at('namespace').text !== '') {
    target.error(
      'targetRef namespace must not be set; cross namespace referencing is not supported',
    )
  }
  if (!targetKinds.has(`${group}/${kind}`)) {
    target.error(`targetRef must be to one of ${targetKindsText} but was ${group}/${kind}`)
  }
}

export interface ExportRules {
  readonly namespace: string
  /** A ServiceEntry may be visible to nobody but its own proxies: `~`. */
  readonly mayBeHidden?: boolean
  /** A DestinationRule for chosen clients stays in its namespace. */
  readonly ownNamespaceOnly?: boolean
}

export function checkExportTo(exportTo: Place, rules: ExportRules): void {
  const { namespace } = rules
  const seen = new Set<string>()
  const { items } = exportTo
  for (const item of items) {
    const entry = item.text
    const key = entry === '.' ? namespace : entry
    if (seen.has(key)) {
      item.error(
        key === entry
          ? `duplicate entries in exportTo for entry ${entry}`
          : `duplicate entries in exportTo: . and current namespace ${namespace}`,
      )
    } else if (key === '*' || (key === '~' && rules.mayBeHidden === true) || isDnsLabel(key)) {
      seen.add(key)
    } else {
      item.error(
        `only .,*, or a valid DNS 1123 label is allowed as exportTo entry, found ${quote(entry)}`,
      )
    }
  }
  if (rules.ownNamespaceOnly === true && seen.size > 0) {
    if (!seen.has(namespace)) {
      exportTo.error(
        'destination rule with workload selector cannot have exportTo beyond current namespace',
      )
    } else if (seen.size > 1) {
      exportTo.error(
        'destination rule with workload selector cannot have multiple entries in exportTo',
      )
    }
  }
  if (items.length < 2) return
  if (seen.has('*')) {
    exportTo.error('cannot have both public (*) and non-public exportTo values for a resource')
  }
  if (seen.has('~')) exportTo.error('cannot export service entry to no one (~) and someone')
}

export function checkLabels(labels: Place): void {
  const pairs = labels.entries.map(([key, { text }]) => [key, text] as const)
  for (const complaint of labelComplaints(pairs)) labels.error(complaint)
}

const headerName = /^[-_A-Za-z0-9]+$/

export function httpHeaderName(name: string): Complaint {
  if (name === '') return 'header name cannot be empty'
  return headerName.test(name) ? undefined : `header name ${name} is not a valid header name`
}

export interface MatchRules {
  /** Envoy takes an empty prefix for paths only. */
  readonly emptyPrefix?: boolean
}

/** A StringMatch. */
export function checkStringMatch(match: Place, where: string, rules: MatchRules = {}): void {
  const [prefix, expression] = [match.at('prefix'), match.at('regex')]
  if (prefix.present && prefix.text === '' && rules.emptyPrefix !== true) {
    match.error(`${quote(where)}: prefix string match should not be empty`)
  }
  if (!expression.present) return
  match.check(
    expression.text === ''
      ? `${quote(where)}: regex string match should not be empty`
      : regex(expression.text, where),
  )
}

/** Calls the check for a field that is there. */
export function whenPresent(place: Place, check: (place: Place) => void): void {
  if (place.present) check(place)
}
