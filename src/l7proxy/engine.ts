/** Which engine a pod's proxy runs on: the control plane decides and says so in the environment. */
import { MeshError } from '../base/index.ts'

export type Engine = 'envoy' | 'weft'

/**
 * @param args as Istio's agent gets them: `proxy waypoint …`
 * @returns without a decision, what serves the kind of proxy: tunnels are Envoy's until ours has them
 */
export function engineOf(
  environment: Readonly<Record<string, string | undefined>>,
  args: readonly string[],
): Engine {
  const isWaypoint = args[1] === 'waypoint'
  const wanted = environment.WEFT_ENGINE ?? ''
  if (wanted !== '' && wanted !== 'envoy' && wanted !== 'weft') {
    throw new MeshError('L7PROXY_ENGINE', `WEFT_ENGINE="${wanted}" is neither envoy nor weft`, {
      hint: 'It comes from the annotation weft.dev/engine of the Gateway or its class, or from MeshConfig.',
    })
  }
  if (wanted === 'weft' && isWaypoint) {
    throw new MeshError('L7PROXY_ENGINE', "Weft's own engine can't serve waypoints yet", {
      hint: 'Take the annotation weft.dev/engine off the Gateway, or set it to envoy.',
    })
  }
  if (wanted !== '') return wanted
  return isWaypoint ? 'envoy' : 'weft'
}
