/** What is wrong with a webhook configuration beyond its shape: match conditions that don't compile, bad URLs. */
import {
  type FieldError,
  fieldDuplicate,
  fieldForbidden,
  fieldInvalid,
  fieldRequired,
  invalid,
  isApiError,
  type KubeObject,
  type LabelSelector,
  selectorOf,
} from '../../../kube/index.ts'
import { limits } from '../../limits.ts'
import { type JsonMap, listOf, mapOf, sameValue, textOf } from '../../values.ts'
import type { AdmissionRequest, AdmissionStep } from '../admission.ts'
import { compileConditions } from './match-conditions.ts'

const kinds = new Set(['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'])

export class WebhookConfigurationCheck implements AdmissionStep {
  check(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): void {
    const { type } = request
    if (!kinds.has(type.kind)) return
    const before = listOf((old as unknown as JsonMap | undefined)?.webhooks)
    const errors = listOf((object as unknown as JsonMap).webhooks).flatMap((webhook, i) =>
      webhookErrors(webhook, `webhooks[${i}]`, before),
    )
    if (errors.length === 0) return
    throw invalid({ group: type.group, kind: type.kind, name: object.metadata.name }, errors)
  }
}

function webhookErrors(webhook: JsonMap, path: string, before: readonly JsonMap[]): FieldError[] {
  return [
    ...selectorErrors(webhook.namespaceSelector, `${path}.namespaceSelector`),
    ...selectorErrors(webhook.objectSelector, `${path}.objectSelector`),
    ...clientErrors(mapOf(webhook.clientConfig), `${path}.clientConfig`),
    ...ruleErrors(listOf(webhook.rules), `${path}.rules`),
    ...conditionErrors(webhook, `${path}.matchConditions`, before),
  ]
}

function selectorErrors(selector: unknown, path: string): FieldError[] {
  try {
    selectorOf(mapOf(selector) as LabelSelector)
    return []
  } catch (error) {
    if (!isApiError(error)) throw error
    return [fieldInvalid(path, selector, error.message)]
  }
}

function clientErrors({ url, caBundle, service }: JsonMap, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (caBundle !== undefined && caBundle !== null && !holdsCertificate(textOf(caBundle))) {
    const why = 'unable to load root certificates: unable to parse bytes as PEM block'
    errors.push(fieldInvalid(`${path}.caBundle`, textOf(caBundle), why))
  }
  const servicePath = textOf(mapOf(service).path)
  if (servicePath !== '' && !servicePath.startsWith('/')) {
    errors.push(fieldInvalid(`${path}.service.path`, servicePath, "must start with a '/'"))
  }
  if (url === undefined || url === null) return errors
  const form = '; desired format: https://host[/path]'
  const complain = (detail: string): number =>
    errors.push(fieldInvalid(`${path}.url`, textOf(url), `${detail}${form}`))
  const parsed = URL.parse(textOf(url))
  if (parsed === null) complain('url must be a valid URL')
  else if (parsed.protocol !== 'https:') complain("'https' is the only allowed URL scheme")
  else if (parsed.username !== '' || parsed.password !== '') {
    complain('user information is not permitted in the URL')
  } else if (parsed.search !== '') complain('query parameters are not permitted in the URL')
  else if (parsed.hash !== '') complain('fragments are not permitted in the URL')
  return errors
}

function holdsCertificate(bundle: string): boolean {
  if (bundle === '') return true
  return Buffer.from(bundle, 'base64').toString().includes('-----BEGIN CERTIFICATE-----')
}

function ruleErrors(rules: readonly JsonMap[], path: string): FieldError[] {
  return rules.flatMap((rule, i) =>
    ['apiGroups', 'apiVersions', 'resources', 'operations'].flatMap((name) => {
      const list = rule[name]
      const field = `${path}[${i}].${name}`
      if (!Array.isArray(list) || list.length === 0) return [fieldRequired(field)]
      const alone = name === 'resources' || !list.includes('*') || list.length === 1
      if (alone) return []
      return [fieldInvalid(field, list, "if '*' is present, must not specify other values")]
    }),
  )
}

function conditionErrors(webhook: JsonMap, path: string, before: readonly JsonMap[]): FieldError[] {
  const conditions = listOf(webhook.matchConditions)
  // What was accepted stays acceptable.
  const same = before.find(({ name }) => name === webhook.name)
  if (same !== undefined && sameValue(listOf(same.matchConditions), conditions)) return []
  if (conditions.length > limits.matchConditionsMax) {
    const why = `must have at most ${limits.matchConditionsMax} items`
    return [fieldForbidden(path, why)]
  }
  const names = new Set<string>()
  return compileConditions(conditions).flatMap(({ name, expression, error }, i) => {
    const errors: FieldError[] = []
    if (name === '') errors.push(fieldRequired(`${path}[${i}].name`))
    if (names.has(name)) errors.push(fieldDuplicate(`${path}[${i}].name`, name))
    names.add(name)
    if (expression.trim() === '') errors.push(fieldRequired(`${path}[${i}].expression`))
    else if (error !== undefined) {
      errors.push(fieldInvalid(`${path}[${i}].expression`, expression, error))
    }
    return errors
  })
}
