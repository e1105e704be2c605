/** Egress listeners of a Sidecar that have a port, an address or a socket of their own. */
import { listener as api, listenerComponents } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { configPath } from '../../provenance.ts'
import type { Scope } from '../lookup/scope.ts'
import { egressScope, sidecarOf } from '../lookup/sidecar-scope.ts'
import { istioMetadata } from '../metadata.ts'
import { problemOf } from '../policies/problem.ts'
import { sidecarRoutes } from '../routes/sidecar.ts'
import { serviceStream } from '../routes/streams.ts'
import { listenerAccessLogs } from '../telemetry/access-log.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { neededUnits, resourceUnit, type Unit } from '../unit.ts'
import {
  bindAddress,
  encodeListener,
  isBindable,
  Needs,
  outbound,
  unixPrefix,
  wildcardAddress,
} from './build.ts'
import { httpManager } from './http-manager.ts'
import { RecordedKeySets } from './key-sets.ts'
import { declaredOf, serverKind } from './protocols.ts'
import { chainOf, openProxy, unknownPolicy } from './sidecar-outbound.ts'

export function customEgressUnits(scope: Scope): Unit[] {
  const { reader, view } = scope
  const listeners = sidecarOf(reader, view)?.spec.egress ?? []
  return listeners.flatMap(({ port }, index) => {
    const isPipe = port === undefined ? false : (port.number ?? 0) === 0
    if (port === undefined || (isPipe && listeners[index]?.bind === undefined)) return []
    const isHttp = serverKind(port.protocol) === 'http'
    return isHttp ? [egressUnit(index), egressRouteUnit(index)] : [egressUnit(index)]
  })
}

function routeName(index: number): string {
  return `egress-${index}`
}

function egressRouteUnit(index: number): Unit {
  return resourceUnit(`route|${routeName(index)}`, ({ scope }) => {
    const own = egressScope(scope.reader, scope.view, index)
    const number = sidecarOf(scope.reader, scope.view)?.spec.egress?.[index]?.port?.number ?? 0
    const { mode } = unknownPolicy(scope)
    // A socket stands for whatever its first service offers.
    const port = number === 0 ? (own.services()[0]?.ports[0]?.port ?? 0) : number
    return [sidecarRoutes({ scope: own, name: routeName(index), port, unknown: mode })]
  })
}

function egressUnit(index: number): Unit {
  return {
    key: `listener|egress|${index}`,
    make: ({ scope, keySets }) => {
      const { reader, view } = scope
      const sidecar = sidecarOf(reader, view)
      const egress = sidecar?.spec.egress?.[index]
      if (sidecar === undefined || egress === undefined) {
        return { resources: [], units: [], problems: [] }
      }
      if (!isBindable(egress.bind ?? '')) {
        const message = `bind '${egress.bind ?? ''}' is no address; this listener is left out`
        const problems = [problemOf(sidecar, `/spec/egress/${index}/bind`, message)]
        return { resources: [], units: [], problems }
      }
      const own = egressScope(reader, view, index)
      const { bind = '', port = {}, captureMode = 'DEFAULT' } = egress
      const { number = 0, protocol } = port
      const needs = new Needs()
      const context = { needs, keySets: new RecordedKeySets(reader, keySets) }
      const target: TelemetryTarget = { proxy: view, side: 'CLIENT' }
      const isHttp = serverKind(protocol) === 'http'
      const isBound = captureMode === 'NONE' || bind !== '' || view.interception === 'NONE'
      const any = wildcardAddress(view.ipFamilies[0] ?? 'ipv4')
      const address = bind === '' ? (isBound ? '127.0.0.1' : any) : bind
      const name = bind.startsWith(unixPrefix) ? bind : `${address}_${number}`
      const service = own.servicesWithPort(number)[0] ?? own.services()[0]
      const filters = isHttp
        ? [
            httpManager(context, {
              role: 'outbound',
              scope: own,
              target,
              port: number,
              statPrefix: `outbound_${name}`,
              routeName: routeName(index),
              declared: declaredOf(protocol),
            }),
          ]
        : service === undefined
          ? openProxy(context, scope)
          : chainOf(
              context,
              own,
              serviceStream(
                {
                  scope: own,
                  port: number === 0 ? (service.ports[0]?.port ?? 0) : number,
                  gateway: 'mesh',
                },
                service,
              ),
            )
      const logs = listenerAccessLogs(reader, target)
      needs.add(logs)
      const listener = encodeListener(
        create(api.ListenerSchema, {
          name,
          address: bindAddress(address, number),
          ...(isBound ? {} : { bindToPort: false }),
          trafficDirection: outbound,
          accessLog: [...logs.logs],
          filterChains: [create(listenerComponents.FilterChainSchema, { filters })],
          metadata: istioMetadata(configPath(sidecar), `/spec/egress/${index}`),
        }),
      )
      return {
        resources: [listener, ...needs.extensions.values()],
        units: neededUnits(needs),
        problems: needs.problems,
      }
    },
  }
}
