/**
 * `pods/x/proxy` and `services/x/proxy`: plain HTTP to a program in a pod, over the same connection that
 * port-forward uses. The caller's credentials stay here.
 */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { toError } from '../base/index.ts'
import { badRequest, type KubeObject, notFound, serviceUnavailable } from '../kube/index.ts'
import type { PodBackend, PodReference } from './backend.ts'
import { noBackend } from './errors.ts'
import type { Exchange } from './http/exchange.ts'
import type { ObjectStore } from './store/objects.ts'
import { listOf, mapOf, textOf, valueAt } from './values.ts'

/** Of one connection, or for this server's eyes only. */
const notForwarded = new Set([
  'authorization',
  'connection',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

interface Destination {
  readonly pod: PodReference
  readonly port: number
}

export class PodProxy {
  readonly #store: ObjectStore
  readonly #random: () => number

  /** @param random a number from 0 to 1: which of a Service's endpoints is asked */
  constructor(store: ObjectStore, random: () => number) {
    this.#store = store
    this.#random = random
  }

  async answer(
    exchange: Exchange,
    place: { readonly resource: string; readonly namespace: string; readonly name: string },
    backend: PodBackend | undefined,
  ): Promise<void> {
    const { resource, namespace } = place
    const { scheme, name, port } = nameParts(place.name)
    if (scheme === 'https') {
      throw badRequest('the proxy speaks plain HTTP only; use kubectl port-forward for TLS')
    }
    if (backend === undefined) throw noBackend()
    const found =
      resource === 'pods'
        ? this.#podPort(namespace, name, port)
        : this.#servicePort(namespace, name, port)
    const connection = await backend.portForward(found.pod, found.port).catch((error: unknown) => {
      throw unreachable(place.name, error)
    })
    await forward(exchange, connection, place.name)
  }

  #podPort(namespace: string, name: string, port: string): Destination {
    const entry = this.#store.bucket('/pods').get(namespace, name)
    if (entry === undefined) throw notFound({ group: '', kind: 'pods', name })
    const pod = entry.parse()
    const ports = listOf(valueAt(pod, 'spec.containers')).flatMap((each) => listOf(each.ports))
    const named = ports.find((each) => each.name === port)
    const number = port === '' ? ports[0]?.containerPort : (named?.containerPort ?? Number(port))
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 1 || number > 65_535) {
      throw badRequest(
        port === ''
          ? `pod ${name} has no container port: say which one, as in pods/${name}:8080/proxy`
          : `pod ${name} has no port ${JSON.stringify(port)}`,
      )
    }
    return { pod: { namespace, name, uid: entry.index.uid }, port: number }
  }

  #servicePort(namespace: string, name: string, port: string): Destination {
    const entry = this.#store.bucket('/services').get(namespace, name)
    if (entry === undefined) throw notFound({ group: '', kind: 'services', name })
    const ports = listOf(valueAt(entry.parse(), 'spec.ports'))
    const wanted =
      port === ''
        ? ports.length === 1
          ? ports[0]
          : undefined
        : ports.find((each) => each.name === port || String(each.port) === port)
    if (wanted === undefined) {
      throw serviceUnavailable(
        `no service port ${JSON.stringify(port)} found for service "${name}"`,
      )
    }
    const candidates = this.#endpoints(namespace, name, textOf(wanted.name))
    const chosen = candidates[Math.floor(this.#random() * candidates.length)]
    if (chosen === undefined) {
      throw serviceUnavailable(`no endpoints available for service "${name}"`)
    }
    return chosen
  }

  #endpoints(namespace: string, service: string, portName: string): Destination[] {
    const slices = this.#store
      .bucket('discovery.k8s.io/endpointslices')
      .list(namespace)
      .filter(({ index }) => index.labels['kubernetes.io/service-name'] === service)
      .map((entry) => entry.parse() as KubeObject & Record<string, unknown>)
    return slices.flatMap((slice) => {
      const port = listOf(slice.ports).find((each) => textOf(each.name) === portName)?.port
      if (typeof port !== 'number') return []
      return listOf(slice.endpoints).flatMap(({ conditions, targetRef }) => {
        const { kind, name, uid } = mapOf(targetRef)
        if (mapOf(conditions).ready === false || kind !== 'Pod') return []
        return [{ pod: { namespace, name: textOf(name), uid: textOf(uid) }, port }]
      })
    })
  }
}

/** `[scheme:]name[:port]` */
function nameParts(text: string): { scheme: string; name: string; port: string } {
  const parts = text.split(':')
  if (parts.length === 3) {
    const [scheme = '', name = '', port = ''] = parts
    if (!['', 'http', 'https'].includes(scheme)) throw badRequest(`invalid scheme "${scheme}"`)
    return { scheme, name, port }
  }
  const [name = '', port = ''] = parts
  return { scheme: '', name, port }
}

/** What follows `/proxy` in the path, with the query. */
function restOf(exchange: Exchange): string {
  const match = /^\/api\/v1\/namespaces\/[^/]+\/[^/]+\/[^/]+\/proxy(\/.*)?$/.exec(exchange.path)
  const { search } = new URL(exchange.request.url ?? '/', 'http://localhost')
  return `${match?.[1] ?? '/'}${search}`
}

function forward(exchange: Exchange, connection: Duplex, name: string): Promise<void> {
  const { request, response } = exchange
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      // One connection for one request, made already.
      createConnection: () => connection,
      method: exchange.method,
      path: restOf(exchange),
      headers: {
        ...forwardable(request.headers),
        host: name,
        'x-forwarded-uri': exchange.path,
        connection: 'close',
      },
    })
    outgoing.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, forwardable(answer.headers))
      answer.pipe(response)
      answer.once('error', () => exchange.destroy())
      answer.once('end', resolve)
    })
    outgoing.once('error', (error) => {
      connection.destroy()
      if (response.headersSent) {
        exchange.destroy()
        resolve()
      } else reject(unreachable(name, error))
    })
    exchange.onClose(() => {
      connection.destroy()
      resolve()
    })
    request.pipe(outgoing)
  })
}

function forwardable(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(':') || notForwarded.has(name)) continue
    if (name.startsWith('impersonate-')) continue
    kept[name] = value
  }
  return kept
}

function unreachable(name: string, error: unknown) {
  return serviceUnavailable(`error trying to reach service "${name}": ${toError(error).message}`)
}
