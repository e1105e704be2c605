/** What users read about one listener. */
import type { Gateway } from '../../model/index.ts'
import type { ListenerAttachment } from '../envoy/routes/attach.ts'
import { controllerOf, meshController } from '../envoy/routes/gateway-listeners.ts'
import type { Reader } from '../reader.ts'
import { condition, type Fault, noErrors, type WantedCondition } from './condition.ts'
import { listenerTlsFault } from './listener-tls.ts'

const hbonePort = 15008
const routeGroup = 'gateway.networking.k8s.io'

export interface WantedListenerStatus {
  readonly name: string
  readonly attachedRoutes: number
  readonly supportedKinds: readonly { readonly group: string; readonly kind: string }[]
  readonly conditions: readonly WantedCondition[]
}

export interface ListenerReport {
  readonly status: WantedListenerStatus
  readonly port: number
  /** Whether its Gateway or ListenerSet may call it good. */
  readonly isValid: boolean
}

export function listenerReport(
  reader: Reader,
  gateway: Gateway,
  listener: ListenerAttachment,
): ListenerReport {
  const { spec, fault, kinds, routes } = listener
  const tls = listenerTlsFault(reader, gateway, listener)
  const shape =
    controllerOf(reader, gateway) === meshController && !isWaypointListener(listener)
      ? {
          reason: 'UnsupportedProtocol',
          message: `Expected a single listener on port ${hbonePort} with protocol "HBONE"`,
        }
      : undefined
  return {
    status: {
      name: spec.name ?? '',
      attachedRoutes: routes.length,
      supportedKinds: kinds.map((kind) => ({ group: routeGroup, kind })),
      conditions: [
        condition('Accepted', good('Accepted'), fault ?? shape ?? unusableCa(tls)),
        conflicted(fault),
        condition('Programmed', good('Programmed'), notProgrammed(listener, tls)),
        // One that is not served at all has nothing that would have to be found.
        ...(conflictOf(fault) === undefined
          ? [condition('ResolvedRefs', good('ResolvedRefs'), tls ?? unfitKinds(listener))]
          : []),
      ],
    },
    port: spec.port ?? 0,
    isValid: fault === undefined && tls === undefined,
  }
}

function isWaypointListener({ spec }: ListenerAttachment): boolean {
  return spec.port === hbonePort && spec.protocol === 'HBONE'
}

const good = (reason: string): Fault => ({ reason, message: noErrors })

/** The fault when it is about another listener. */
function conflictOf(fault: Fault | undefined): Fault | undefined {
  return fault?.reason === 'UnsupportedProtocol' ? undefined : fault
}

function conflicted(fault: Fault | undefined): WantedCondition {
  const type = 'Conflicted'
  const conflict = conflictOf(fault)
  if (conflict !== undefined) return { type, status: 'True', ...conflict }
  return { type, status: 'False', reason: 'NoConflicts', message: noErrors }
}

function notProgrammed(
  { spec, fault }: ListenerAttachment,
  tls: Fault | undefined,
): Fault | undefined {
  const conflict = conflictOf(fault)
  if (conflict !== undefined) return conflict
  const noTls = fault !== undefined && (spec.protocol === 'HTTPS' || spec.protocol === 'TLS')
  if (tls !== undefined || noTls) return { reason: 'Invalid', message: 'Bad TLS configuration' }
  return fault === undefined ? undefined : { reason: 'Invalid', message: fault.message }
}

/** Without any roots to check clients with, the listener is not accepted at all. */
function unusableCa(tls: Fault | undefined): Fault | undefined {
  if (tls === undefined || !tls.reason.startsWith('InvalidCACertificate')) return undefined
  return { reason: 'NoValidCACertificate', message: tls.message }
}

function unfitKinds({ kindsFit }: ListenerAttachment): Fault | undefined {
  return kindsFit ? undefined : { reason: 'InvalidRouteKinds', message: 'Invalid route kinds' }
}
