/**
 * Which program a Gateway's pods run: the nearest word counts, of the Gateway, its class, and the mesh. Waypoints
 * are Envoy's, until our own proxy ends tunnels; gateways for HTTP are ours, with nothing to install. Pure.
 */
import { isWaypoint, type TemplateInput } from './gateway-input.ts'

/** `envoy` or `weft`; on Gateways and on GatewayClasses. */
export const engineAnnotation = 'weft.dev/engine'
/** The key in MeshConfig's `defaultConfig.proxyMetadata`, and the variable of the pod. */
const engineVariable = 'WEFT_ENGINE'

/** The value is passed on as it is: a wrong one is refused by the pod, whose status says so. */
export function engineOf(input: TemplateInput): string {
  const { gateway, classAnnotations, proxyConfig } = input
  // An empty value asks for what would be without it.
  return (
    gateway.metadata.annotations?.[engineAnnotation] ||
    classAnnotations[engineAnnotation] ||
    proxyConfig.proxyMetadata?.[engineVariable] ||
    (isWaypoint(input) ? 'envoy' : 'weft')
  )
}
