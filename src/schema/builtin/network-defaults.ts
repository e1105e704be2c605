/** Defaults of Services, endpoints, network policies and ingresses. */
import { asMap, type Json, mapsOf } from '../json.ts'
import { defaults, ensureMap, isUnset } from './set.ts'

/** Three hours: how long a client sticks to its endpoint when it does. */
const affinitySeconds = 10_800

/** Everything but addresses and node ports, which are allocated by whoever stores the Service. */
export function serviceDefaults(object: Json): void {
  const spec = ensureMap(object, 'spec')
  if (spec === undefined) return
  defaults(spec, { sessionAffinity: 'None', type: 'ClusterIP' })
  const type = spec['type']
  for (const port of mapsOf(spec['ports'])) {
    defaults(port, { protocol: 'TCP' })
    if (isUnset(port['targetPort']) || port['targetPort'] === 0) port['targetPort'] = port['port']
  }
  if (spec['sessionAffinity'] === 'ClientIP') {
    const config = ensureMap(spec, 'sessionAffinityConfig')
    const client = config === undefined ? undefined : ensureMap(config, 'clientIP')
    if (client !== undefined) defaults(client, { timeoutSeconds: affinitySeconds })
  } else if (spec['sessionAffinity'] === 'None') {
    delete spec['sessionAffinityConfig']
  }
  if (type !== 'ExternalName') {
    defaults(spec, {
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
    })
  }
  if (type === 'NodePort' || type === 'LoadBalancer') {
    defaults(spec, { externalTrafficPolicy: 'Cluster' })
  }
  if (type === 'LoadBalancer') defaults(spec, { allocateLoadBalancerNodePorts: true })
  const status = ensureMap(object, 'status')
  if (status !== undefined) defaults(status, { loadBalancer: {} })
}

export function endpointsDefaults(object: Json): void {
  for (const subset of mapsOf(object['subsets'])) {
    for (const port of mapsOf(subset['ports'])) defaults(port, { protocol: 'TCP' })
  }
}

export function endpointSliceDefaults(object: Json): void {
  for (const port of mapsOf(object['ports'])) defaults(port, { name: '', protocol: 'TCP' })
}

export function networkPolicyDefaults(object: Json): void {
  const spec = asMap(object['spec']) ?? {}
  const egress = mapsOf(spec['egress']).length > 0 || Array.isArray(spec['egress'])
  if (!Array.isArray(spec['policyTypes']) || spec['policyTypes'].length === 0) {
    spec['policyTypes'] = egress ? ['Ingress', 'Egress'] : ['Ingress']
  }
  for (const rule of [...mapsOf(spec['ingress']), ...mapsOf(spec['egress'])]) {
    for (const port of mapsOf(rule['ports'])) defaults(port, { protocol: 'TCP' })
  }
}

export function ingressDefaults(object: Json): void {
  const status = ensureMap(object, 'status')
  if (status !== undefined) defaults(status, { loadBalancer: {} })
}
