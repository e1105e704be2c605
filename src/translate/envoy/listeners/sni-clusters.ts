/**
 * Clusters of AUTO_PASSTHROUGH gateways: one for each port and subset of the mesh's own services, named as
 * clients of other networks write it into the server name. The bytes are mutual TLS already, so that these
 * clusters add nothing to them.
 */
import { cluster as api } from '../../../proto/envoy.ts'
import { create, fromBinary, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import { needsEndpoints, translateCluster } from '../clusters/cluster.ts'
import { type ClusterRef, outboundRef, sniOf } from '../clusters/names.ts'
import type { Scope } from '../lookup/scope.ts'
import { endpointsUnit, type Unit } from '../unit.ts'

export function passthroughUnits(scope: Scope): Unit[] {
  return scope
    .services()
    .filter(({ location, resolution }) => location === 'internal' && resolution !== 'alias')
    .map(({ namespace, hostname }) => serviceUnit(`${namespace}/${hostname}`))
}

function serviceUnit(key: string): Unit {
  return {
    key: `sni-service|${key}`,
    make: ({ scope }) => {
      const service = scope.reader.service(key)
      if (service === undefined) return { resources: [], units: [], problems: [] }
      const subsets = [
        '',
        ...(scope.destinationRule(service)?.subsets ?? []).map(({ name }) => name),
      ]
      const units = service.ports.flatMap(({ port, protocol }) =>
        protocol === 'TCP'
          ? subsets.map((subset) => {
              const ref = outboundRef(service, port, subset)
              return sniUnit({ ...ref, name: sniOf(service.hostname, port, subset) })
            })
          : [],
      )
      return { resources: [], units, problems: [] }
    },
  }
}

function sniUnit(ref: ClusterRef): Unit {
  return {
    key: `sni-cluster|${ref.name}|${ref.service}`,
    make: ({ scope }) => {
      const translated = translateCluster(scope, ref)
      if (translated === undefined) return { resources: [], units: [], problems: [] }
      const schema = api.ClusterSchema
      const { transportSocket: _, ...plain } = fromBinary(schema, translated.bytes)
      const message = create(schema, {
        ...plain,
        transportSocketMatches: [],
        typedExtensionProtocolOptions: {},
      })
      const resource = encodeResource({ name: ref.name, typeUrl: typeUrl.cluster, schema, message })
      const units = needsEndpoints(scope, ref) ? [endpointsUnit(ref)] : []
      return { resources: [resource], units, problems: [] }
    },
  }
}
