/** Waypoints as objects: the Gateway that asks for one, and what its status says. */
import type { KubeObject } from '../../kube/index.ts'

export const waypointClass = 'istio-waypoint'
export const useWaypointLabel = 'istio.io/use-waypoint'
export const modeLabel = 'istio.io/dataplane-mode'
const forLabel = 'istio.io/waypoint-for'
export const revisionLabel = 'istio.io/rev'
export const trafficTypes = ['all', 'none', 'service', 'workload'] as const

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}

export type WaypointObject = KubeObject<
  { gatewayClassName?: string; listeners?: unknown[] },
  { conditions?: Condition[] }
>

export interface WaypointWish {
  readonly name: string
  /** Undefined: left to whoever applies the YAML. */
  readonly namespace: string | undefined
  /** Undefined: the class's default. */
  readonly trafficType: string | undefined
  readonly revision: string | undefined
}

export function waypointObject(wish: WaypointWish): WaypointObject {
  const { name, namespace, trafficType, revision } = wish
  const labels = {
    ...(trafficType === undefined ? {} : { [forLabel]: trafficType }),
    ...(revision === undefined ? {} : { [revisionLabel]: revision }),
  }
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      name,
      ...(namespace === undefined ? {} : { namespace }),
    },
    spec: {
      gatewayClassName: waypointClass,
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  }
}

export function isWaypoint({ spec }: WaypointObject): boolean {
  return spec?.gatewayClassName === waypointClass
}

/** Undefined until the control plane has said something. */
export function programmed({ status }: WaypointObject): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === 'Programmed')
}

export function isProgrammed(waypoint: WaypointObject): boolean {
  return programmed(waypoint)?.status === 'True'
}

/** What traffic goes through it; Services' when it says nothing. */
export function trafficTypeOf({ metadata }: WaypointObject): string {
  return metadata.labels?.[forLabel] || 'service'
}

export function revisionOf({ metadata }: WaypointObject): string {
  return metadata.labels?.[revisionLabel] || 'default'
}

export function keyOf({ metadata }: WaypointObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`
}

/** Columns as istioctl prints them: five blanks after the widest cell. */
export function istioTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length + 5)
    }
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('')
  return rows.map((row) => `${line(row)}\n`).join('')
}
