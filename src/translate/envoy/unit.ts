/**
 * Units: the resources of a proxy in the smallest parts that are made together. Each is made with a reader
 * of its own, so that its dependencies are known; what it needs besides are further units.
 */
import type { Reader } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import { backendTls } from './clusters/backend-tls.ts'
import { needsEndpoints, translateCluster } from './clusters/cluster.ts'
import type { ClusterRef } from './clusters/names.ts'
import { planCluster } from './clusters/policy.ts'
import { credentialSecret } from './clusters/tls.ts'
import { translateEndpoints } from './endpoints/assignment.ts'
import type { EnvoyTypes } from './filters-patch/select.ts'
import type { Needs } from './listeners/build.ts'
import type { Scope } from './lookup/scope.ts'
import { scopeOf } from './lookup/sidecar-scope.ts'
import type { Problem } from './policies/problem.ts'
import type { KeySets } from './policies/request-authentication.ts'
import type { ProxyView } from './proxy.ts'
import { rootsSuffix } from './secrets/names.ts'
import { secretUnit } from './secrets/secret-unit.ts'

export interface UnitContext {
  readonly scope: Scope
  readonly keySets: KeySets
  /** All of Envoy's types, for EnvoyFilters. */
  readonly types?: EnvoyTypes | undefined
  /** A part that other views may have too; what it rests on, the unit rests on. */
  readonly share?: ((unit: Unit) => Made) | undefined
}

export interface Made {
  readonly resources: readonly TranslatedResource[]
  /** What must exist as well; the same unit may be needed by many. */
  readonly units: readonly Unit[]
  readonly problems: readonly Problem[]
}

export interface Unit {
  /** Equal keys stand for the same unit. */
  readonly key: string
  /** Its key says all that it is made from besides the view and the mesh; see shared-units.ts. */
  readonly isShared?: true
  make(context: UnitContext): Made
}

/** Everything that units of a proxy are made from. */
export interface UnitInput {
  /** Of this unit alone: it notes what the unit rests on. */
  readonly reader: Reader
  readonly view: ProxyView
  /** By where they come from; a changed set is told as `jwks/<source>`. */
  readonly keySets: KeySets
  readonly types?: EnvoyTypes | undefined
  readonly share?: ((unit: Unit) => MadeUnit) | undefined
}

export interface MadeUnit extends Made {
  readonly dependencies: ReadonlySet<string>
}

export function makeUnit(unit: Unit, input: UnitInput): MadeUnit {
  const { reader } = input
  const scope = scopeOf(reader, input.view)
  const { keySets, types, share } = input
  const part =
    share &&
    ((other: Unit): Made => {
      const { dependencies, ...made } = share(other)
      for (const dependency of dependencies) reader.depend(dependency)
      return made
    })
  const made = unit.make({ scope, keySets, types, share: part })
  return { ...made, dependencies: reader.dependencies }
}

export function resourceUnit(
  key: string,
  make: (context: UnitContext) => readonly TranslatedResource[],
): Unit {
  return { key, make: (context) => ({ resources: make(context), units: [], problems: [] }) }
}

export function clusterUnit(ref: ClusterRef): Unit {
  return {
    key: `cluster|${ref.name}|${ref.service}`,
    isShared: true,
    make: ({ scope }) => {
      const cluster = translateCluster(scope, ref)
      if (cluster === undefined) return { resources: [], units: [], problems: [] }
      const endpoints = needsEndpoints(scope, ref) ? [endpointsUnit(ref)] : []
      const units = [...endpoints, ...clusterSecrets(scope, ref).map(secretUnit)]
      return { resources: [cluster], units, problems: [] }
    },
  }
}

/** Certificates and roots that the cluster's TLS names, of DestinationRule or BackendTLSPolicy. */
function clusterSecrets(scope: Scope, ref: ClusterRef): string[] {
  const plan = planCluster(scope, ref)
  const settings = plan?.policy.tls
  if (plan !== undefined && settings === undefined) {
    const roots = backendTls(scope, plan)?.caSecret
    return roots === undefined ? [] : [roots]
  }
  const { credentialName = '', mode } = settings ?? {}
  if (credentialName === '' || (mode !== 'SIMPLE' && mode !== 'MUTUAL')) return []
  const name = credentialSecret(credentialName)
  return mode === 'MUTUAL' ? [name, `${name}${rootsSuffix}`] : [`${name}${rootsSuffix}`]
}

export function endpointsUnit(ref: ClusterRef): Unit {
  const unit = resourceUnit(`endpoints|${ref.name}|${ref.service}`, ({ scope }) => {
    const endpoints = translateEndpoints(scope, ref)
    return endpoints === undefined ? [] : [endpoints]
  })
  return { ...unit, isShared: true }
}

/** What a listener's filters name. */
export function neededUnits(needs: Needs): Unit[] {
  return [...[...needs.clusters.values()].map(clusterUnit), ...[...needs.secrets].map(secretUnit)]
}
