/**
 * The Telemetries of a proxy, or of one service at a waypoint, from the widest to the closest: mesh,
 * namespace, the service's namespace, then what is aimed at the proxy itself. At each step the oldest
 * object counts; how the steps lie over each other is each signal's own matter.
 */
import type { ConfigObject, TelemetryMode, TelemetrySpec } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import {
  attaches,
  isNamespaceWide,
  namespacesOf,
  type PolicyTarget,
  referenceRank,
  targetReferences,
} from '../policies/attachment.ts'

export type TelemetryObject = ConfigObject<TelemetrySpec>

/** On which side of a request the proxy stands, as Telemetry speaks of it. */
export type Side = 'CLIENT' | 'SERVER'

/** One listener's view of the mesh's telemetry. */
export interface TelemetryTarget extends PolicyTarget {
  readonly side: Side
}

export function telemetriesFor(reader: Reader, target: PolicyTarget): readonly TelemetryObject[] {
  const { rootNamespace } = reader.settings
  const namespaces = namespacesOf(target, rootNamespace)
  const wide = namespaces.flatMap((namespace) => {
    const oldest = reader.configs('Telemetry', namespace).find(({ spec }) => isNamespaceWide(spec))
    return oldest === undefined ? [] : [oldest]
  })
  const closest = new Map<number, TelemetryObject>()
  for (const namespace of namespaces) {
    for (const object of reader.configs('Telemetry', namespace)) {
      if (isNamespaceWide(object.spec) || !attaches(object, target, rootNamespace)) continue
      // A selector of the root namespace is for the workloads there.
      if (!hasTarget(object) && namespace !== target.proxy.namespace) continue
      const rank = rankOf(object, target, rootNamespace)
      if (!closest.has(rank)) closest.set(rank, object)
    }
  }
  const ranked = [...closest].toSorted(([left], [right]) => left - right)
  return [...wide, ...ranked.map(([, object]) => object)]
}

function hasTarget({ spec }: TelemetryObject): boolean {
  return targetReferences(spec).length > 0
}

function rankOf(object: TelemetryObject, target: PolicyTarget, rootNamespace: string): number {
  const ranks = targetReferences(object.spec).map((reference) =>
    referenceRank(reference, object.namespace, target, rootNamespace),
  )
  return Math.max(0, ...ranks)
}

/** No mode, and both modes, are for either side. */
export function isForSide(mode: TelemetryMode | undefined, side: Side): boolean {
  return mode === undefined || mode === 'CLIENT_AND_SERVER' || mode === side
}

export function providerNames(
  providers: readonly { readonly name?: string }[] | undefined,
): readonly string[] {
  return (providers ?? []).map(({ name = '' }) => name)
}
