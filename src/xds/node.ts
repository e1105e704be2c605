/** Who is at the other end, from the node of its first request. */
import { GrpcError, grpcStatus } from '../grpc/index.ts'
import type { DeltaDiscoveryRequest } from '../proto/index.ts'
import { parseSpiffeId } from '../x509/index.ts'
import type { ProxyNode } from './contract.ts'

/** What authentication found out; `identity` is undefined on the plaintext port only. */
export interface AuthenticatedPeer {
  readonly identity: string | undefined
}

type WireNode = DeltaDiscoveryRequest['node']

/** Throws INVALID_ARGUMENT for a node without a usable id. */
export function parseNode(
  node: WireNode,
  peer: AuthenticatedPeer,
  clusterHeader: string | undefined,
): ProxyNode {
  const id = node?.id ?? ''
  const [type, ip, name, domain] = id.split('~')
  if (!type || ip === undefined || !name || domain === undefined) {
    throw new GrpcError(
      grpcStatus.invalidArgument,
      `the node id "${id.slice(0, 100)}" has not the form <type>~<ip>~<pod>.<namespace>~<domain>`,
    )
  }
  const metadata: Readonly<Record<string, unknown>> = node?.metadata ?? {}
  const text = (key: string): string | undefined => {
    const value = metadata[key]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const dot = name.lastIndexOf('.')
  return {
    id,
    type,
    ip,
    name: dot < 0 ? name : name.slice(0, dot),
    namespace: text('NAMESPACE') ?? (dot < 0 ? '' : name.slice(dot + 1)),
    cluster: text('CLUSTER_ID') ?? clusterHeader ?? 'Kubernetes',
    metadata,
    ...localityOf(node?.locality),
    identity: peer.identity,
  }
}

/** A region says where it is; less is nothing to go by. */
function localityOf(given: NonNullable<WireNode>['locality']): Pick<ProxyNode, 'locality'> {
  if (given === undefined || given.region === '') return {}
  const { region, zone, subZone: subzone } = given
  return { locality: { region, zone, subzone } }
}

/** A proxy may only say that it is in the namespace (and has the account) which it authenticated with. */
export function checkNode(proxy: ProxyNode): void {
  if (proxy.identity === undefined) return
  const id = parseSpiffeId(proxy.identity)
  const account = proxy.metadata.SERVICE_ACCOUNT
  const wrongAccount =
    typeof account === 'string' && account !== '' && account !== id?.serviceAccount
  if (id?.namespace === proxy.namespace && !wrongAccount) return
  throw new GrpcError(
    grpcStatus.permissionDenied,
    `node ${proxy.id} says namespace ${proxy.namespace}` +
      `${wrongAccount ? `, account ${account}` : ''}, but authenticated as ${proxy.identity}`,
    { hint: 'NAMESPACE and SERVICE_ACCOUNT of the node must be those of its token.' },
  )
}
