/**
 * The virtual hosts of services as parts that outlive changes to all others, and that sidecars which see the
 * same of them share: the tables that they make up are put together from bytes.
 */
import { WireType } from '@bufbuild/protobuf/wire'
import { routeComponents } from '../../../proto/envoy.ts'
import { create, toBinary } from '../../../proto/index.ts'
import type { TranslatedResource } from '../../types.ts'
import type { Scope } from '../lookup/scope.ts'
import type { VirtualService } from '../lookup/virtual-services.ts'
import { peerHeader } from '../telemetry/peer.ts'
import type { Made, Unit } from '../unit.ts'
import { virtualHost } from './emit.ts'
import type { VirtualHost } from './ir.ts'
import { staysInMesh } from './peer-headers.ts'

/** A host that is encoded already, but for what each proxy adds. */
export interface EncodedHost {
  readonly domains: readonly string[]
  readonly bytes: Uint8Array
  /** Whether requests to it carry who is asking. */
  readonly isTold: boolean
}

/** Makes a unit, or has it from another view. */
export type Share = (unit: Unit) => Made

/** Marks hosts that stay in the mesh. */
const told = ['mesh']

/** VirtualServices are values that are read anew when something changes, and the same until then. */
const identities = new WeakMap<VirtualService, number>()
let lastIdentity = 0

function identityOf(virtual: VirtualService | undefined): number {
  if (virtual === undefined) return 0
  const known = identities.get(virtual)
  if (known !== undefined) return known
  identities.set(virtual, ++lastIdentity)
  return lastIdentity
}

/**
 * @param key what tells the host from others: service and port
 * @param virtual the VirtualService that was chosen for it
 */
export function encodedHost(
  key: string,
  virtual: VirtualService | undefined,
  share: Share,
  make: (scope: Scope) => VirtualHost,
): EncodedHost {
  const unit: Unit = {
    key: `host|${key}|${identityOf(virtual)}`,
    isShared: true,
    make: ({ scope }) => {
      // When these are read anew the unit has another key: then this one must go.
      for (const namespace of namespacesOf(virtual)) {
        scope.reader.depend(`configs/VirtualService/${namespace}`)
      }
      return { resources: [encode(scope, make(scope))], units: [], problems: [] }
    },
  }
  const [found] = share(unit).resources
  if (found === undefined) throw new TypeError(`no host ${key}`)
  const { aliases: domains = [], bytes, belongsTo = [] } = found
  return { domains, bytes, isTold: belongsTo.length > 0 }
}

function namespacesOf(virtual: VirtualService | undefined): Set<string> {
  if (virtual === undefined) return new Set()
  return new Set([virtual.namespace, ...virtual.http.map(({ namespace }) => namespace)])
}

/** In the form of a resource, which units are made of. */
function encode(scope: Scope, host: VirtualHost): TranslatedResource {
  return {
    name: host.name,
    typeUrl: '',
    version: '',
    bytes: toBinary(routeComponents.VirtualHostSchema, virtualHost(host)),
    aliases: host.domains,
    ...(staysInMesh(scope, host) ? { belongsTo: told } : {}),
  }
}

/** `virtual_hosts` in RouteConfiguration. */
const hostsField = 2

/** The whole message: protobuf joins the parts of a repeated field, and of a message, wherever they are. */
export function joinHosts(
  scope: Scope,
  hosts: readonly EncodedHost[],
  rest: Uint8Array,
): Uint8Array {
  const requestHeadersToAdd = [peerHeader(scope.view)]
  const header = toBinary(
    routeComponents.VirtualHostSchema,
    create(routeComponents.VirtualHostSchema, { requestHeadersToAdd }),
  )
  const parts = hosts.flatMap(({ bytes, isTold }) => {
    const own = isTold ? [bytes, header] : [bytes]
    return [prefix(bytes.length + (isTold ? header.length : 0)), ...own]
  })
  // Into memory of its own: it lives as long as the table.
  return new Uint8Array(Buffer.concat([...parts, rest]))
}

/** Tag and length of a host. */
function prefix(length: number): Uint8Array {
  const bytes = [(hostsField << 3) | WireType.LengthDelimited]
  let left = length
  for (; left > 0x7f; left >>>= 7) bytes.push((left & 0x7f) | 0x80)
  return Uint8Array.of(...bytes, left)
}
