/** Rules for containers: names, images, ports, environment, mounts, resources, probes. */
import {
  quantityToNumber,
  validateDnsLabel,
  validateEnvName,
  validatePortName,
  validatePortNumber,
} from '../../kube/index.ts'
import type { Cursor } from './report.ts'

/** What containers must agree on with the rest of the pod. */
export interface PodFacts {
  readonly volumes: ReadonlySet<string>
  readonly hostNetwork: boolean
  /** Names taken so far, over all kinds of containers. */
  readonly names: Set<string>
}

export function containerErrors(container: Cursor, pod: PodFacts): void {
  if (container.need('name')) {
    const name = container.text('name') ?? ''
    container.rule('name', validateDnsLabel)
    if (pod.names.has(name)) container.duplicate('name')
    pod.names.add(name)
  }
  if (container.need('image')) {
    const image = container.text('image') ?? ''
    if (image !== image.trim())
      container.invalid('image', 'must not have leading or trailing whitespace')
  }
  portErrors(container, pod)
  for (const variable of container.children('env')) {
    if (variable.need('name')) variable.rule('name', validateEnvName)
    const source = variable.child('valueFrom')
    if (source === undefined) continue
    if (variable.isSet('value')) {
      variable.invalid('valueFrom', 'may not be specified when `value` is not empty', '')
    }
    const given = Object.keys(source.map).filter((key) => source.isSet(key)).length
    const kinds =
      '`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`'
    if (given === 0) variable.invalid('valueFrom', `must specify one of: ${kinds}`, '')
    if (given > 1)
      variable.invalid('valueFrom', 'may not have more than one field specified at a time', '')
  }
  mountErrors(container, pod)
  resourceErrors(container)
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = container.child(name)
    if (probe !== undefined) probeErrors(probe, name)
  }
  const lifecycle = container.child('lifecycle')
  for (const name of ['postStart', 'preStop']) {
    const handler = lifecycle?.child(name)
    if (handler !== undefined) handlerErrors(handler, ['exec', 'httpGet', 'tcpSocket', 'sleep'])
  }
}

function portErrors(container: Cursor, pod: PodFacts): void {
  const names = new Set<string>()
  for (const port of container.children('ports')) {
    port.rule('name', validatePortName)
    const name = port.text('name')
    if (name !== undefined && name !== '') {
      if (names.has(name)) port.duplicate('name')
      names.add(name)
    }
    const number = port.number('containerPort') ?? 0
    if (number === 0) port.required('containerPort')
    else for (const text of validatePortNumber(number)) port.invalid('containerPort', text)
    const host = port.number('hostPort') ?? 0
    if (host !== 0) for (const text of validatePortNumber(host)) port.invalid('hostPort', text)
    if (pod.hostNetwork && host !== 0 && host !== number) {
      port.invalid('containerPort', 'must match `hostPort` when `hostNetwork` is true')
    }
  }
}

function mountErrors(container: Cursor, pod: PodFacts): void {
  const paths = new Set<string>()
  for (const mount of container.children('volumeMounts')) {
    const name = mount.text('name') ?? ''
    if (mount.need('name') && !pod.volumes.has(name)) {
      mount.errors.push({
        reason: 'FieldValueNotFound',
        message: `Not found: ${JSON.stringify(name)}`,
        field: mount.at('name'),
      })
    }
    if (!mount.need('mountPath')) continue
    const path = mount.text('mountPath') ?? ''
    if (paths.has(path)) mount.invalid('mountPath', 'must be unique')
    paths.add(path)
  }
}

function resourceErrors(container: Cursor): void {
  const resources = container.child('resources')
  const limits = resources?.child('limits')
  const requests = resources?.child('requests')
  for (const list of [limits, requests]) {
    for (const key of Object.keys(list?.map ?? {})) {
      const amount = amountOf(list?.value(key))
      if (amount !== undefined && amount < 0)
        list?.invalid(key, 'must be greater than or equal to 0')
    }
  }
  for (const key of Object.keys(requests?.map ?? {})) {
    const limit = amountOf(limits?.value(key))
    const request = amountOf(requests?.value(key))
    if (limit !== undefined && request !== undefined && request > limit) {
      requests?.invalid(key, `must be less than or equal to ${key} limit of ${limits?.value(key)}`)
    }
  }
}

/** The amount of a quantity; undefined when it isn't one, which the schema complains about. */
function amountOf(value: unknown): number | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  try {
    return quantityToNumber(value)
  } catch {
    return undefined
  }
}

function probeErrors(probe: Cursor, name: string): void {
  handlerErrors(probe, ['exec', 'httpGet', 'tcpSocket', 'grpc'])
  probe.notNegative(
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  )
  if (name !== 'readinessProbe' && (probe.number('successThreshold') ?? 1) !== 1) {
    probe.invalid('successThreshold', 'must be 1')
  }
}

function handlerErrors(handler: Cursor, kinds: readonly string[]): void {
  const given = kinds.filter((kind) => handler.child(kind) !== undefined)
  if (given.length === 0) {
    handler.errors.push({
      reason: 'FieldValueRequired',
      message: 'Required value: must specify a handler type',
      field: handler.path,
    })
  }
  for (const kind of given.slice(1))
    handler.forbidden(kind, 'may not specify more than 1 handler type')
  const exec = handler.child('exec')
  const command = exec?.value('command')
  if (exec !== undefined && (!Array.isArray(command) || command.length === 0))
    exec.required('command')
  for (const kind of ['httpGet', 'tcpSocket', 'grpc']) {
    const target = handler.child(kind)
    if (target !== undefined && given.includes(kind)) portOrNameErrors(target, 'port')
  }
}

/** A port given as a number or by name. */
export function portOrNameErrors(cursor: Cursor, field: string): void {
  const value = cursor.value(field)
  if (typeof value === 'number') {
    for (const text of validatePortNumber(value)) cursor.invalid(field, text)
  } else if (typeof value === 'string') {
    for (const text of validatePortName(value)) cursor.invalid(field, text)
  } else if (value === undefined || value === null) {
    cursor.required(field)
  }
}
