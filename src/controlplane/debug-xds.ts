/**
 * The debug pages over xDS, as istioctl asks for them: `istio.io/debug` with the page as the resource's name, and two
 * types of their own, which answer with Envoy's messages instead of JSON.
 */
import { GrpcError, grpcStatus } from '../grpc/index.ts'
import { typeUrl as urls } from '../proto/index.ts'
import type { ConnectionInfo, DebugAnswer, DebugRequest, DebugResource } from '../xds/index.ts'
import { configDumpMessages } from './config-dump.ts'
import { answerPage, type DebugPages, pageText } from './debug-page.ts'
import { findProxy, isProxy, type ProxyPagesOptions } from './debug-proxies.ts'
import { jsonToBytes } from './envoy-json.ts'

export interface DebugOverXdsOptions extends Pick<ProxyPagesOptions, 'source'> {
  readonly connections: () => readonly ConnectionInfo[]
  readonly pages: () => DebugPages
  readonly systemNamespace: string
}

const clientConfig = 'envoy.service.status.v3.ClientConfig'
const statuses = { unknown: 0, synced: 1, notSent: 2, stale: 3, error: 4 } as const
/** Shown for every proxy, sent or not. */
const reported = [urls.cluster, urls.listener, urls.route, urls.endpoint, urls.extensionConfig]

export function debugOverXds(options: DebugOverXdsOptions): DebugAnswer {
  return (request) => {
    // The plaintext port knows nobody.
    if (request.proxy.identity === undefined) {
      throw new GrpcError(grpcStatus.permissionDenied, 'debug requests need an identity', {
        hint: 'Ask on the TLS port (15012) with a token.',
      })
    }
    switch (request.typeUrl) {
      case 'istio.io/debug':
        return [page(options, request)]
      case 'istio.io/debug/syncz':
        return syncStatuses(options, request)
      case 'istio.io/debug/config_dump':
        return dump(options, request)
      default:
        throw new GrpcError(grpcStatus.invalidArgument, `there is no type ${request.typeUrl}`)
    }
  }
}

/** Whose proxies the asker may see; undefined: all. */
function scopeOf({ proxy }: DebugRequest, systemNamespace: string): string | undefined {
  return proxy.namespace === systemNamespace ? undefined : proxy.namespace
}

function page(options: DebugOverXdsOptions, request: DebugRequest): DebugResource {
  const [name, ...more] = request.names
  if (name === undefined || more.length > 0) {
    throw new GrpcError(grpcStatus.invalidArgument, 'a debug request names exactly one page')
  }
  const { pages, systemNamespace } = options
  const caller = { namespace: request.proxy.namespace }
  const answer = answerPage(pages(), name, caller, systemNamespace)
  if ('status' in answer && answer.status === 403) {
    throw new GrpcError(grpcStatus.permissionDenied, answer.text.trim())
  }
  const bytes = Buffer.from(pageText(answer, false))
  return { name, typeUrl: request.typeUrl, version: '', bytes }
}

function syncStatuses(options: DebugOverXdsOptions, request: DebugRequest): DebugResource[] {
  const namespace = scopeOf(request, options.systemNamespace)
  return options
    .connections()
    .filter(({ node }) => isProxy(node))
    .filter(({ node }) => namespace === undefined || node.namespace === namespace)
    .map((connection) => ({
      name: `${connection.node.name}.${connection.node.namespace}`,
      typeUrl: `type.googleapis.com/${clientConfig}`,
      version: '',
      bytes: clientStatus(connection),
    }))
}

function clientStatus({ node, types }: ConnectionInfo): Uint8Array {
  const watched = new Map(types.map((type) => [type.typeUrl, type]))
  const { ISTIO_VERSION: version } = node.metadata
  const configs = [...new Set([...reported, ...watched.keys()])].map((typeUrl) => {
    const type = watched.get(typeUrl)
    const configStatus =
      type === undefined || type.nonceSent === ''
        ? statuses.notSent
        : type.error !== undefined
          ? statuses.error
          : type.nonceAcked === type.nonceSent
            ? statuses.synced
            : statuses.stale
    return { typeUrl, configStatus }
  })
  return jsonToBytes(clientConfig, {
    node: {
      id: `${node.name}.${node.namespace}`,
      metadata: {
        CLUSTER_ID: node.cluster,
        NAMESPACE: node.namespace,
        ...(typeof version === 'string' ? { ISTIO_VERSION: version } : {}),
      },
    },
    genericXdsConfigs: configs,
  })
}

function dump(options: DebugOverXdsOptions, request: DebugRequest): DebugResource[] {
  const [proxyId = '', ...more] = request.names
  if (proxyId === '' || more.length > 0) {
    throw new GrpcError(grpcStatus.invalidArgument, 'a config dump names exactly one proxy')
  }
  const namespace = scopeOf(request, options.systemNamespace)
  const found = findProxy(options.connections(), proxyId, namespace)
  // Another replica may have it: an empty answer lets the asker go on.
  if (found === undefined) return []
  return configDumpMessages(options.source, found).map(({ typeUrl, bytes }) => ({
    name: '',
    typeUrl,
    version: '',
    bytes,
  }))
}

/** Who answers, in the form which istioctl reads from `control_plane.identifier`. */
export function controlPlaneIdentifier(podName: string, version: string): string {
  return JSON.stringify({
    Component: 'istiod',
    ID: podName,
    Info: { version, revision: '', golang_version: '', status: 'Clean', tag: version },
  })
}
