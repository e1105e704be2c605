/** Whether a webhook wants to see a request, and in which version of the resource. */
import { matchesLabels, notFound, type Selector } from '../../../kube/index.ts'
import type { Catalogue } from '../../catalogue.ts'
import { apiVersionOfType, bucketIdOf, type ResourceType } from '../../resource-type.ts'
import type { ObjectStore } from '../../store/objects.ts'
import type { AdmissionRequest, Subject } from '../admission.ts'
import type { Webhook, WebhookRule } from './configuration.ts'

/** Objects that no webhook sees: one that refuses everything could never be removed again. */
const exempt = new Set([
  'mutatingwebhookconfigurations',
  'validatingwebhookconfigurations',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'mutatingadmissionpolicies',
  'mutatingadmissionpolicybindings',
])

export function isExempt({ group, resource }: ResourceType): boolean {
  return group === 'admissionregistration.k8s.io' && exempt.has(resource)
}

export class WebhookMatcher {
  readonly #store: ObjectStore
  readonly #catalogue: Catalogue

  constructor(store: ObjectStore, catalogue: Catalogue) {
    this.#store = store
    this.#catalogue = catalogue
  }

  /**
   * The version in which the webhook wants the objects; undefined when it doesn't want the request at all.
   * Conditions are not looked at.
   */
  match(webhook: Webhook, request: AdmissionRequest, subject: Subject): ResourceType | undefined {
    const type = this.#matchedType(webhook, request)
    if (type === undefined) return undefined
    const selected =
      this.#namespaceFits(webhook.namespaceSelector, request, subject) &&
      objectFits(webhook.objectSelector, subject)
    return selected ? type : undefined
  }

  #matchedType(webhook: Webhook, request: AdmissionRequest): ResourceType | undefined {
    const { type } = request
    if (webhook.rules.some((rule) => ruleFits(rule, request, type))) return type
    if (!webhook.equivalent) return undefined
    const others = this.#versionsOf(type)
    for (const rule of webhook.rules) {
      const found = others.find((other) => ruleFits(rule, request, other))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The other served versions of the same stored objects. */
  #versionsOf(type: ResourceType): ResourceType[] {
    const bucketId = bucketIdOf(type)
    return this.#catalogue
      .groupVersions()
      .map((groupVersion) => this.#catalogue.find(groupVersion, type.resource))
      .filter((other) => other !== undefined)
      .filter((other) => bucketIdOf(other) === bucketId)
      .filter((other) => apiVersionOfType(other) !== apiVersionOfType(type))
  }

  /** Requests outside of namespaces are matched by none of them, except those about a namespace. */
  #namespaceFits(selector: Selector, request: AdmissionRequest, subject: Subject): boolean {
    if (selector.length === 0) return true
    const { type, operation, subresource, name } = request
    const isNamespace = type.group === '' && type.resource === 'namespaces'
    const namespace = isNamespace ? name : request.namespace
    if (namespace === '') return true
    if (isNamespace && subresource === undefined && operation !== 'DELETE') {
      return matchesLabels(selector, subject.object?.metadata.labels)
    }
    const entry = this.#store.bucket('/namespaces').latest('', namespace)
    if (entry === undefined) throw notFound({ group: '', kind: 'namespaces', name: namespace })
    return matchesLabels(selector, entry.index.labels)
  }
}

function objectFits(selector: Selector, { object, old }: Subject): boolean {
  if (selector.length === 0) return true
  return [object, old].some(
    (each) => each !== undefined && matchesLabels(selector, each.metadata.labels),
  )
}

const holds = (list: readonly string[], value: string): boolean =>
  list.includes('*') || list.includes(value)

function ruleFits(rule: WebhookRule, request: AdmissionRequest, type: ResourceType): boolean {
  return (
    scopeFits(rule.scope, request) &&
    holds(rule.operations, request.operation) &&
    holds(rule.groups, type.group) &&
    holds(rule.versions, type.version) &&
    rule.resources.some((pattern) => resourceFits(pattern, request, type))
  )
}

function resourceFits(pattern: string, request: AdmissionRequest, type: ResourceType): boolean {
  const slash = pattern.indexOf('/')
  const resource = slash < 0 ? pattern : pattern.slice(0, slash)
  const subresource = slash < 0 ? '' : pattern.slice(slash + 1)
  return (
    (resource === '*' || resource === type.resource) &&
    (subresource === '*' || subresource === (request.subresource ?? ''))
  )
}

/** A namespace itself is an object of the cluster. */
function scopeFits(scope: string, { type }: AdmissionRequest): boolean {
  if (scope === 'Namespaced') return type.namespaced
  return scope !== 'Cluster' || !type.namespaced
}
