/** Copies of requests to other clusters. */
import type { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { runtimeShare } from '../values.ts'

export interface Mirror {
  readonly share: number
  /** What is appended to the host name of the copy. */
  readonly hostSuffix: '' | '-shadow'
  /** Replaces the authority of the copy. */
  readonly hostLiteral: string
  readonly traceSampled: boolean | undefined
  /** Undefined: there is no cluster to copy to. */
  cluster(exchange: Exchange): string | undefined
}

export interface ChosenMirror {
  readonly cluster: string
  readonly mirror: Mirror
}

export function compileMirrors(
  policies: readonly api.RouteAction_RequestMirrorPolicy[],
  place: Place,
): Mirror[] {
  return policies.map((policy, index) => {
    const { cluster, clusterHeader, hostRewriteLiteral } = policy
    const at = place.at('request_mirror_policies', index)
    if (policy.requestHeadersMutations.length > 0) {
      at.at('request_headers_mutations').refuse('is not supported')
    }
    if ((cluster === '') === (clusterHeader === '')) {
      at.refuse('either cluster or cluster_header has to be set')
    }
    const header = clusterHeader.toLowerCase()
    return {
      share: runtimeShare(policy.runtimeFraction, 1),
      hostSuffix:
        policy.disableShadowHostSuffixAppend || hostRewriteLiteral !== '' ? '' : '-shadow',
      hostLiteral: hostRewriteLiteral,
      traceSampled: policy.traceSampled,
      cluster: (exchange) => (cluster === '' ? exchange.header(header) : cluster),
    }
  })
}

const none: readonly ChosenMirror[] = []

/** Where copies of this request go. */
export function chooseMirrors(
  mirrors: readonly Mirror[],
  exchange: Exchange,
): readonly ChosenMirror[] {
  if (mirrors.length === 0) return none
  return mirrors.flatMap((mirror) => {
    const cluster = exchange.inShare(mirror.share) ? mirror.cluster(exchange) : undefined
    return cluster === undefined || cluster === '' ? [] : [{ cluster, mirror }]
  })
}
