/** Whose certificate a cluster's servers may show: the accounts that its endpoints run under. */

import { endpointsOf } from '../endpoints/collect.ts'
import type { Scope } from '../lookup/scope.ts'
import type { ClusterPlan } from './policy.ts'

/** SPIFFE ids, in order; none while nothing is known of the servers. */
export function serverIdentities(scope: Scope, plan: ClusterPlan): string[] {
  const { reader } = scope
  const { trustDomain, trustDomainAliases } = reader.mesh()
  const { service, port } = plan
  const found = new Set<string>(service.subjectAltNames)
  const accounts = new Set<string>()
  for (const { workload } of endpointsOf(reader, service, port)) {
    if (workload === undefined || workload.serviceAccount === '') continue
    accounts.add(`${workload.namespace}/${workload.serviceAccount}`)
  }
  for (const account of service.serviceAccounts) {
    if (account.includes('://')) found.add(account)
    else accounts.add(account)
  }
  for (const account of accounts) {
    const slash = account.indexOf('/')
    const path = `/ns/${account.slice(0, slash)}/sa/${account.slice(slash + 1)}`
    for (const domain of [trustDomain, ...trustDomainAliases])
      found.add(`spiffe://${domain}${path}`)
  }
  return [...found].toSorted()
}
