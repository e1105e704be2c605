/** Whether a pod belongs to the mesh, and with which rules (reference: ambient pod eligibility). Pure. */
import { type LabelSelector, labelSelectorMatches } from '../kube/index.ts'
import { limits } from './limits.ts'
import type { PodRuleOptions } from './rules.ts'
import type { EnablementSelector, Pod } from './types.ts'

export const redirectionAnnotation = 'ambient.istio.io/redirection'
const dnsAnnotation = 'ambient.istio.io/dns-capture'
const bypassAnnotation = 'ambient.istio.io/bypass-inbound-capture'
const interfacesAnnotation = 'istio.io/reroute-virtual-interfaces'
const modeLabel = 'istio.io/dataplane-mode'

const ambientLabel: LabelSelector = { matchLabels: { [modeLabel]: 'ambient' } }

/** On the pod; or on the namespace, unless the pod says `none`. */
export const defaultSelectors: readonly EnablementSelector[] = [
  { podSelector: ambientLabel },
  {
    namespaceSelector: ambientLabel,
    podSelector: { matchExpressions: [{ key: modeLabel, operator: 'NotIn', values: ['none'] }] },
  },
]

export interface EligibilityOptions {
  readonly selectors: readonly EnablementSelector[]
  readonly excludeNamespaces: readonly string[]
  readonly systemNamespace: string
}

type Labels = Readonly<Record<string, string>>

/** Whether the pod should be captured. Ended pods are no longer. */
export function isEligible(
  pod: Pod,
  namespaceLabels: Labels | undefined,
  options: EligibilityOptions,
): boolean {
  const { namespace = '', labels, annotations } = pod.metadata
  if (pod.spec?.hostNetwork === true || hasEnded(pod)) return false
  if (annotations?.['sidecar.istio.io/status'] !== undefined) return false
  if (options.excludeNamespaces.includes(namespace)) return false
  if (namespace === options.systemNamespace && labels?.app === 'ztunnel') return false
  return options.selectors.some(
    ({ podSelector, namespaceSelector }) =>
      matches(podSelector, labels) && matches(namespaceSelector, namespaceLabels),
  )
}

/** Its containers have all ended for good; nothing is left in its namespace to redirect. */
export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

function matches(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  return selector === undefined || labelSelectorMatches(selector, labels)
}

/** The variants of the rules which the pod's annotations ask for, and what in them is not usable. */
export function ruleOptionsOf(
  pod: Pod,
  defaults: { readonly dnsCapture: boolean },
): { readonly options: Omit<PodRuleOptions, 'ipv6'>; readonly problems: readonly string[] } {
  const annotations = pod.metadata.annotations ?? {}
  const problems: string[] = []
  const flag = (name: string, otherwise: boolean): boolean => {
    const text = annotations[name]?.trim().toLowerCase()
    if (text === undefined || text === '') return otherwise
    if (['true', 't', '1'].includes(text)) return true
    if (['false', 'f', '0'].includes(text)) return false
    problems.push(`annotation ${name} is "${annotations[name]}"; it must be "true" or "false"`)
    return otherwise
  }
  const dns = flag(dnsAnnotation, defaults.dnsCapture)
  const inbound = !flag(bypassAnnotation, false)
  const named = (annotations[interfacesAnnotation] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  // The names go into rule texts, so nothing but a plain interface name may pass.
  const virtualInterfaces = named.filter(isInterfaceName).slice(0, limits.virtualInterfaces)
  if (virtualInterfaces.length < named.length) {
    problems.push(
      `annotation ${interfacesAnnotation} is "${annotations[interfacesAnnotation]}"; it must be at most ` +
        `${limits.virtualInterfaces} interface names with commas between them`,
    )
  }
  return { options: { dns, inbound, virtualInterfaces }, problems }
}

function isInterfaceName(name: string): boolean {
  return name.length <= limits.interfaceNameLength && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)
}
