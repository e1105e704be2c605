/** Debug pages about connected proxies: who they are, what they watch, what they should hold. */
import { typeUrl as urls } from '../proto/index.ts'
import type { Problem } from '../translate/index.ts'
import type { ConnectionInfo, ProxyNode, ResourceSource, XdsServer } from '../xds/index.ts'
import { configDump, readable, resourcesOf } from './config-dump.ts'
import {
  badRequest,
  type DebugPage,
  notFound,
  ok,
  type PageAnswer,
  type PageRequest,
} from './debug-page.ts'

export interface ProxyPagesOptions {
  readonly source: ResourceSource & { readonly problems: readonly Problem[] }
  readonly xds: Pick<XdsServer, 'connections' | 'pushAll' | 'disconnect'>
  /** UNSAFE_ENABLE_ADMIN_ENDPOINTS: pages that do something to proxies. */
  readonly unsafe: boolean
}

/** Envoy's types, which syncz names one by one. */
const synced = {
  cluster: urls.cluster,
  listener: urls.listener,
  route: urls.route,
  endpoint: urls.endpoint,
  extensionconfig: urls.extensionConfig,
} as const

/** The asker that istioctl is; it is no proxy. */
export function isProxy({ metadata }: ProxyNode): boolean {
  return metadata.GENERATOR === undefined
}

function visible(connections: readonly ConnectionInfo[], namespace: string | undefined) {
  return connections
    .filter(({ node }) => namespace === undefined || node.namespace === namespace)
    .toSorted((one, two) => (one.id < two.id ? -1 : 1))
}

/** The newest connection of a proxy, by a part of its id: `pod.namespace`. */
export function findProxy(
  connections: readonly ConnectionInfo[],
  proxyId: string,
  namespace: string | undefined,
): ConnectionInfo | undefined {
  return visible(connections, namespace)
    .filter(({ id, node }) => isProxy(node) && id.includes(proxyId))
    .toSorted((one, two) => two.connectedAt - one.connectedAt)[0]
}

export function proxyPages(options: ProxyPagesOptions): [string, DebugPage][] {
  const { source, xds, unsafe } = options
  const connected = ({ namespace }: PageRequest) => visible(xds.connections(), namespace)
  const ofProxy = (
    request: PageRequest,
    answer: (connection: ConnectionInfo) => PageAnswer,
  ): PageAnswer => {
    const id = request.query.get('proxyID') ?? ''
    if (id === '') return badRequest('You must provide a proxyID in the query string\n')
    const found = findProxy(xds.connections(), id, request.namespace)
    if (found !== undefined) return answer(found)
    return notFound(
      'Proxy not connected to this Pilot instance. It may be connected to another instance.\n',
    )
  }
  const pushing = (answer: (request: PageRequest) => PageAnswer) => (request: PageRequest) => {
    // Pushing to everybody is for those who may see everybody.
    if (!request.query.has('push') || request.namespace !== undefined) return answer(request)
    return ok(`Pushed to ${xds.pushAll()} servers\n`)
  }
  const pages: [string, DebugPage][] = [
    [
      'syncz',
      {
        help: 'What was sent to and acknowledged by each proxy connected here',
        answer: (request) => ({
          json: connected(request)
            .filter(({ node }) => isProxy(node))
            .map(syncStatus),
        }),
      },
    ],
    [
      'connections',
      {
        help: 'The connected xDS clients',
        answer: (request) => ({ json: clients(connected(request).map(clientOf)) }),
      },
    ],
    [
      'adsz',
      {
        help: 'The connected xDS clients with their metadata and what they watch',
        examples: { 'push=true': 'Sends everything to all connected proxies again' },
        answer: pushing((request) => {
          if (request.query.has('proxyID')) {
            return ofProxy(request, (found) => ({ json: clients([watcherOf(found)]) }))
          }
          return { json: clients(connected(request).map(watcherOf)) }
        }),
      },
    ],
    [
      'config_dump',
      {
        help: 'What a proxy (?proxyID=) should hold, as Envoy dumps it; keys are left out',
        forProxies: true,
        answer: (request) =>
          ofProxy(request, (found) => {
            if (request.query.get('types')?.split(',').includes('ecds') === true) {
              return { json: { [urls.extensionConfig]: extensions(source, found) } }
            }
            const withEndpoints = request.query.get('include_eds') === 'true'
            return { json: configDump(source, found, withEndpoints) }
          }),
      },
    ],
    [
      'edsz',
      {
        help: 'The endpoints of a proxy (?proxyID=)',
        forProxies: true,
        answer: pushing((request) =>
          ofProxy(request, (found) => ({
            json: resourcesOf(source, found, urls.endpoint).map((item) => plain(readable(item))),
          })),
        ),
      },
    ],
    [
      'ecdsz',
      {
        help: 'The extension configurations of a proxy (?proxyID=)',
        answer: pushing((request) =>
          ofProxy(request, (found) => {
            const json = extensions(source, found)
            if (json.length > 0) return { json }
            return notFound(`no ExtensionConfigurationType found, proxyID: ${found.node.id}\n`)
          }),
        ),
      },
    ],
    [
      'ndsz',
      {
        help: 'The name table of a proxy (?proxyID=): none, proxies here resolve names themselves',
        forProxies: true,
        answer: pushing((request) =>
          ofProxy(request, () => badRequest('DNS capture is not enabled in the proxy\n')),
        ),
      },
    ],
    [
      'push_status',
      {
        help: 'What proxies rejected last, and what of the configuration they could not be given',
        answer: (request) => ({
          json: { ...rejections(connected(request)), ...problems(source, request.namespace) },
        }),
      },
    ],
  ]
  if (!unsafe) return pages
  const disconnect: DebugPage = {
    help: 'Ends the stream of a proxy (?proxyID=)',
    answer: (request) => ofProxy(request, ({ id }) => (xds.disconnect(id), ok('OK'))),
  }
  return [...pages, ['force_disconnect', disconnect]]
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

function syncStatus({ node, types }: ConnectionInfo): unknown {
  const item: Record<string, unknown> = {
    proxy: `${node.name}.${node.namespace}`,
    proxy_type: node.type,
    cluster_id: node.cluster,
    istio_version: textOf(node.metadata.ISTIO_VERSION),
  }
  for (const [name, typeUrl] of Object.entries(synced)) {
    const type = types.find((known) => known.typeUrl === typeUrl)
    item[`${name}_sent`] = type?.nonceSent || undefined
    item[`${name}_acked`] = type?.nonceAcked || undefined
  }
  item.resources = Object.fromEntries(
    types.map((type) => [
      type.typeUrl,
      { sent: type.nonceSent, acked: type.nonceAcked, error: type.error },
    ]),
  )
  return item
}

function clients(items: readonly unknown[]): unknown {
  return { totalClients: items.length, clients: items }
}

function clientOf({ id, connectedAt, address }: ConnectionInfo): Record<string, unknown> {
  return { connectionId: id, connectedAt: new Date(connectedAt).toISOString(), address }
}

function watcherOf(connection: ConnectionInfo): unknown {
  const { node, types } = connection
  return {
    ...clientOf(connection),
    labels: node.metadata.LABELS ?? {},
    metadata: node.metadata,
    watches: Object.fromEntries(
      types.map(({ typeUrl, watch }) => [typeUrl, [...watch.subscribed()]]),
    ),
  }
}

function extensions(source: ResourceSource, connection: ConnectionInfo): unknown[] {
  return resourcesOf(source, connection, urls.extensionConfig).map((item) => plain(readable(item)))
}

function plain(message: Record<string, unknown>): unknown {
  const { '@type': _, ...json } = message
  return json
}

/** Objects by their paths; of one namespace only when asked by somebody there. */
function problems(source: ProxyPagesOptions['source'], namespace: string | undefined) {
  const shown = source.problems.filter(
    ({ config = '' }) => namespace === undefined || config.includes(`/namespaces/${namespace}/`),
  )
  const entries = shown.map(({ config = 'MeshConfig', path, message }) => [
    `${config}#${path}`,
    { message },
  ])
  return { weft_config_problems: Object.fromEntries(entries) as Record<string, unknown> }
}

function rejections(connections: readonly ConnectionInfo[]): Record<string, unknown> {
  const rejected = connections.flatMap(({ node, types }) =>
    types.flatMap(({ typeUrl, error }) =>
      error === undefined ? [] : [[node.id, { proxy: node.id, message: `${typeUrl}: ${error}` }]],
    ),
  )
  return { pilot_total_xds_rejects: Object.fromEntries(rejected) }
}
