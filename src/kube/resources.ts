/** The resources that Weft's own programs read and write, by their plural names. */
import type { GroupVersionResource } from './types.ts'

const of = (group: string, version: string, resource: string): GroupVersionResource => ({
  group,
  version,
  resource,
})

export const resources = {
  namespaces: of('', 'v1', 'namespaces'),
  nodes: of('', 'v1', 'nodes'),
  pods: of('', 'v1', 'pods'),
  services: of('', 'v1', 'services'),
  configmaps: of('', 'v1', 'configmaps'),
  secrets: of('', 'v1', 'secrets'),
  serviceaccounts: of('', 'v1', 'serviceaccounts'),
  events: of('', 'v1', 'events'),
  deployments: of('apps', 'v1', 'deployments'),
  replicasets: of('apps', 'v1', 'replicasets'),
  daemonsets: of('apps', 'v1', 'daemonsets'),
  statefulsets: of('apps', 'v1', 'statefulsets'),
  jobs: of('batch', 'v1', 'jobs'),
  endpointslices: of('discovery.k8s.io', 'v1', 'endpointslices'),
  leases: of('coordination.k8s.io', 'v1', 'leases'),
  clusterroles: of('rbac.authorization.k8s.io', 'v1', 'clusterroles'),
  clusterrolebindings: of('rbac.authorization.k8s.io', 'v1', 'clusterrolebindings'),
  roles: of('rbac.authorization.k8s.io', 'v1', 'roles'),
  rolebindings: of('rbac.authorization.k8s.io', 'v1', 'rolebindings'),
  customresourcedefinitions: of('apiextensions.k8s.io', 'v1', 'customresourcedefinitions'),
  tokenreviews: of('authentication.k8s.io', 'v1', 'tokenreviews'),
  gateways: of('gateway.networking.k8s.io', 'v1', 'gateways'),
  gatewayclasses: of('gateway.networking.k8s.io', 'v1', 'gatewayclasses'),
  httproutes: of('gateway.networking.k8s.io', 'v1', 'httproutes'),
  authorizationpolicies: of('security.istio.io', 'v1', 'authorizationpolicies'),
  peerauthentications: of('security.istio.io', 'v1', 'peerauthentications'),
  serviceentries: of('networking.istio.io', 'v1', 'serviceentries'),
  workloadentries: of('networking.istio.io', 'v1', 'workloadentries'),
} as const
