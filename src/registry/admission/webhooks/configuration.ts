/** Webhook configurations as the pipeline uses them: read once when they change, not with every request. */
import {
  type KubeObject,
  type LabelSelector,
  type Selector,
  selectorOf,
} from '../../../kube/index.ts'
import { type JsonMap, listOf, mapOf, stringsOf, textOf } from '../../values.ts'
import { compileConditions, type MatchCondition } from './match-conditions.ts'

export interface WebhookRule {
  readonly operations: readonly string[]
  readonly groups: readonly string[]
  readonly versions: readonly string[]
  /** `pods`, `pods/status`, `*`, `pods/*`. */
  readonly resources: readonly string[]
  readonly scope: string
}

export interface ServiceReference {
  readonly namespace: string
  readonly name: string
  readonly port: number
  readonly path: string
}

export interface ClientConfig {
  readonly url: string | undefined
  readonly service: ServiceReference | undefined
  /** PEM; absent: the authorities that this machine trusts. */
  readonly authorities: string | undefined
}

export interface Webhook {
  readonly name: string
  /** Distinguishes webhooks of all configurations. */
  readonly id: string
  readonly rules: readonly WebhookRule[]
  /** Whether other versions of a resource in the rules count, too. */
  readonly equivalent: boolean
  readonly namespaceSelector: Selector
  readonly objectSelector: Selector
  readonly conditions: readonly MatchCondition[]
  /** `failurePolicy: Fail`. */
  readonly failsClosed: boolean
  readonly timeoutSeconds: number
  /** `reinvocationPolicy: IfNeeded`. */
  readonly mayRepeat: boolean
  readonly safeOnDryRun: boolean
  /** The version of AdmissionReview that it is sent. */
  readonly reviewVersion: 'v1' | 'v1beta1'
  readonly client: ClientConfig
}

/** The webhooks of a configuration, in its order. */
export function webhooksOf(configuration: KubeObject): Webhook[] {
  const webhooks = listOf((configuration as unknown as JsonMap).webhooks)
  return webhooks.map((webhook, index) => {
    const name = textOf(webhook.name)
    return {
      name,
      id: `${configuration.metadata.name}/${index}/${name}`,
      rules: listOf(webhook.rules).map(ruleOf),
      equivalent: webhook.matchPolicy !== 'Exact',
      namespaceSelector: selected(webhook.namespaceSelector),
      objectSelector: selected(webhook.objectSelector),
      conditions: compileConditions(listOf(webhook.matchConditions)),
      failsClosed: webhook.failurePolicy !== 'Ignore',
      timeoutSeconds: typeof webhook.timeoutSeconds === 'number' ? webhook.timeoutSeconds : 10,
      mayRepeat: webhook.reinvocationPolicy === 'IfNeeded',
      safeOnDryRun: webhook.sideEffects === 'None' || webhook.sideEffects === 'NoneOnDryRun',
      reviewVersion: reviewVersionOf(stringsOf(webhook.admissionReviewVersions)),
      client: clientOf(mapOf(webhook.clientConfig)),
    }
  })
}

function ruleOf(rule: JsonMap): WebhookRule {
  return {
    operations: stringsOf(rule.operations),
    groups: stringsOf(rule.apiGroups),
    versions: stringsOf(rule.apiVersions),
    resources: stringsOf(rule.resources),
    scope: textOf(rule.scope) || '*',
  }
}

function selected(selector: unknown): Selector {
  return selectorOf(mapOf(selector) as LabelSelector) ?? []
}

function reviewVersionOf(versions: readonly string[]): 'v1' | 'v1beta1' {
  for (const version of versions) {
    if (version === 'v1' || version === 'v1beta1') return version
  }
  return 'v1'
}

function clientOf(client: JsonMap): ClientConfig {
  const { url, service, caBundle } = client
  const reference = mapOf(service)
  const bundle = textOf(caBundle)
  return {
    url: textOf(url) || undefined,
    service:
      service === undefined || service === null
        ? undefined
        : {
            namespace: textOf(reference.namespace),
            name: textOf(reference.name),
            port: typeof reference.port === 'number' ? reference.port : 443,
            path: textOf(reference.path),
          },
    authorities: bundle === '' ? undefined : Buffer.from(bundle, 'base64').toString(),
  }
}
