/** The environment of a container: service links, envFrom, env, with `$(NAME)` expanded in order. */
import { ContainerConfigError } from './errors.ts'
import { fieldText, type PodAddresses, resourceText } from './fields.ts'
import {
  type Container,
  type DataObject,
  type EnvVar,
  namespaceOf,
  type Pod,
  type Service,
  specOf,
} from './types.ts'

/** Where the environment looks things up. */
export interface EnvSources {
  configMap(namespace: string, name: string): Promise<DataObject | undefined>
  secret(namespace: string, name: string): Promise<DataObject | undefined>
  /** Services of the namespace, and `default/kubernetes`. */
  services(namespace: string): readonly Service[]
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/weft/bin'

export interface EnvRequest {
  readonly pod: Pod
  readonly container: Container
  readonly addresses: PodAddresses
  /** What the image brings along. */
  readonly image: Readonly<Record<string, string>>
  readonly hostname: string
}

/** Rejects with a ContainerConfigError when something that is not optional is missing. */
export async function resolveEnv(
  request: EnvRequest,
  sources: EnvSources,
): Promise<Map<string, string>> {
  const { pod, container, image, hostname } = request
  const namespace = namespaceOf(pod)
  const env = new Map<string, string>([
    ['PATH', defaultPath],
    ['HOSTNAME', hostname],
    ['HOME', '/tmp'],
    ...Object.entries(image),
  ])
  if (container.tty === true) env.set('TERM', 'xterm')
  const links = specOf(pod).enableServiceLinks !== false
  for (const [name, value] of serviceEnv(sources.services(namespace), namespace, links)) {
    env.set(name, value)
  }
  for (const from of container.envFrom ?? []) {
    const { configMapRef, secretRef, prefix = '' } = from
    const reference = configMapRef ?? secretRef
    if (reference?.name === undefined) continue
    const data = await dataOf(sources, {
      kind: configMapRef === undefined ? 'secret' : 'configmap',
      namespace,
      name: reference.name,
      optional: reference.optional === true,
    })
    for (const [key, value] of Object.entries(data ?? {})) env.set(prefix + key, value)
  }
  for (const variable of container.env ?? []) {
    const value = await valueOf(variable, request, sources, env)
    if (value !== undefined) env.set(variable.name, value)
  }
  return env
}

async function valueOf(
  variable: EnvVar,
  request: EnvRequest,
  sources: EnvSources,
  env: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const { pod, container, addresses } = request
  const from = variable.valueFrom
  if (from === undefined) return expand(variable.value ?? '', env)
  if (from.fieldRef) return fieldText(pod, from.fieldRef.fieldPath, addresses)
  if (from.resourceFieldRef) return resourceText(pod, container, from.resourceFieldRef)
  const reference = from.configMapKeyRef ?? from.secretKeyRef
  if (reference?.name === undefined) return undefined
  const kind = from.configMapKeyRef ? 'configmap' : 'secret'
  const optional = reference.optional === true
  const data = await dataOf(sources, {
    kind,
    namespace: namespaceOf(pod),
    name: reference.name,
    optional,
  })
  const value = data?.[reference.key]
  if (value === undefined && !optional) {
    throw new ContainerConfigError(
      'CreateContainerConfigError',
      `couldn't find key ${reference.key} in ${kind} ${namespaceOf(pod)}/${reference.name} (env ${variable.name})`,
    )
  }
  return value
}

interface DataRequest {
  readonly kind: 'configmap' | 'secret'
  readonly namespace: string
  readonly name: string
  readonly optional: boolean
}

async function dataOf(
  sources: EnvSources,
  request: DataRequest,
): Promise<Record<string, string> | undefined> {
  const { kind, namespace, name, optional } = request
  const object =
    kind === 'configmap'
      ? await sources.configMap(namespace, name)
      : await sources.secret(namespace, name)
  if (object === undefined) {
    if (optional) return undefined
    throw new ContainerConfigError('CreateContainerConfigError', `${kind} "${name}" not found`)
  }
  if (kind === 'configmap') return { ...object.data }
  return Object.fromEntries(
    Object.entries(object.data ?? {}).map(([key, value]) => [
      key,
      Buffer.from(value, 'base64').toString(),
    ]),
  )
}

/** `$(NAME)` becomes the value, `$$(NAME)` stays as `$(NAME)`, unknown names stay as they are. */
export function expand(text: string, env: ReadonlyMap<string, string>): string {
  return text.replace(/\$(\$|\(([^()$]+)\))/g, (whole, rest: string, name: string | undefined) =>
    rest === '$' ? '$' : (env.get(name ?? '') ?? whole),
  )
}

/** `NAME_SERVICE_HOST` and the link variables of every Service with a cluster IP. */
export function serviceEnv(
  services: readonly Service[],
  namespace: string,
  links: boolean,
): Map<string, string> {
  const env = new Map<string, string>()
  for (const service of services) {
    const { name } = service.metadata
    const own = service.metadata.namespace === namespace
    const master = service.metadata.namespace === 'default' && name === 'kubernetes'
    if (!master && !(own && links)) continue
    const { clusterIP, ports = [] } = service.spec ?? {}
    const [first] = ports
    if (clusterIP === undefined || clusterIP === '' || clusterIP === 'None' || !first) continue
    const prefix = name.toUpperCase().replaceAll('-', '_')
    env.set(`${prefix}_SERVICE_HOST`, clusterIP)
    env.set(`${prefix}_SERVICE_PORT`, String(first.port))
    env.set(`${prefix}_PORT`, linkUrl(first, clusterIP))
    for (const port of ports) {
      const protocol = (port.protocol ?? 'TCP').toUpperCase()
      if (port.name !== undefined && port.name !== '') {
        const suffix = port.name.toUpperCase().replaceAll('-', '_')
        env.set(`${prefix}_SERVICE_PORT_${suffix}`, String(port.port))
      }
      const link = `${prefix}_PORT_${port.port}_${protocol}`
      env.set(link, linkUrl(port, clusterIP))
      env.set(`${link}_PROTO`, protocol.toLowerCase())
      env.set(`${link}_PORT`, String(port.port))
      env.set(`${link}_ADDR`, clusterIP)
    }
  }
  return env
}

function linkUrl(port: { port: number; protocol?: string }, address: string): string {
  return `${(port.protocol ?? 'TCP').toLowerCase()}://${address}:${port.port}`
}
