/** The debug pages: what the control plane knows and what it sent, as JSON. */
import { type DescMessage, fromBinary as decode } from '@bufbuild/protobuf'
import type { Informer } from '../client/index.ts'
import { security, toJson, typeUrl, workload } from '../proto/index.ts'
import type { EncodedResource, ProxyNode } from '../xds/index.ts'
import type { MeshSource } from './source.ts'

/** What the xDS server tells about its connections. */
export interface ConnectionReport {
  /** One item a connected proxy, in the form of `/debug/syncz`. */
  connections(): readonly unknown[]
}

export interface DebugPagesOptions {
  readonly source: MeshSource
  readonly xds: ConnectionReport
  /** Informers whose objects are configuration. */
  readonly config: readonly Informer[]
}

export type DebugPage = () => unknown

/** Any proxy sees the same of these types. */
const anyProxy: ProxyNode = {
  id: '',
  type: 'ztunnel',
  ip: '',
  name: '',
  namespace: '',
  cluster: '',
  metadata: {},
  identity: undefined,
}

/** The pages by their path below `/debug/`. */
export function debugPages(options: DebugPagesOptions): ReadonlyMap<string, DebugPage> {
  const { source, xds, config } = options
  const read = (type: string, schema: DescMessage): unknown[] =>
    [...source.list(type, anyProxy)].map((resource) => readable(resource, schema))
  return new Map<string, DebugPage>([
    ['syncz', () => xds.connections()],
    ['configz', () => config.flatMap((informer) => informer.list())],
    [
      'ambientz',
      () => ({
        addresses: read(typeUrl.address, workload.AddressSchema),
        policies: read(typeUrl.authorization, security.AuthorizationSchema),
      }),
    ],
  ])
}

function readable(resource: EncodedResource, schema: DescMessage): unknown {
  const message = decode(schema, resource.bytes)
  // Extensions hold packed messages that need no unpacking here.
  if ('extensions' in message) Reflect.set(message, 'extensions', [])
  return { name: resource.name, version: resource.version, ...Object(toJson(schema, message)) }
}
