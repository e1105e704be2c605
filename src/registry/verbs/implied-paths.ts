/**
 * Fields that every object of a kind has, in Kubernetes' own types: structures that are no pointers, and lists
 * that are written even when they are absent. Since they are always there, nobody comes to own their presence
 * by an update, while the presence of any other container is owned by whoever made it.
 */
import { bucketIdOf, type ResourceType } from '../resource-type.ts'

const template = (at: string): string[] => [
  at,
  `${at}.metadata`,
  `${at}.spec`,
  `${at}.spec.containers`,
]
const halves = ['spec', 'status']
const job = (at: string): string[] => [at, ...template(`${at}.template`)]

const paths: Readonly<Record<string, readonly string[]>> = {
  '/events': ['source'],
  '/limitranges': ['spec', 'spec.limits'],
  '/namespaces': halves,
  '/nodes': [
    ...halves,
    'status.daemonEndpoints',
    'status.daemonEndpoints.kubeletEndpoint',
    'status.nodeInfo',
  ],
  '/persistentvolumeclaims': [...halves, 'spec.resources'],
  '/persistentvolumes': halves,
  '/pods': [...halves, 'spec.containers'],
  '/podtemplates': template('template'),
  '/replicationcontrollers': halves,
  '/resourcequotas': halves,
  '/services': [...halves, 'status.loadBalancer'],
  'apiextensions.k8s.io/customresourcedefinitions': [
    ...halves,
    'spec.names',
    'status.acceptedNames',
    'status.conditions',
  ],
  'apiregistration.k8s.io/apiservices': halves,
  'apps/daemonsets': [...halves, 'spec.updateStrategy', ...template('spec.template')],
  'apps/deployments': [...halves, 'spec.strategy', ...template('spec.template')],
  'apps/replicasets': [...halves, ...template('spec.template')],
  'apps/statefulsets': [...halves, 'spec.updateStrategy', ...template('spec.template')],
  'autoscaling/horizontalpodautoscalers': [...halves, 'spec.scaleTargetRef'],
  'batch/cronjobs': [
    ...halves,
    'spec.jobTemplate',
    'spec.jobTemplate.metadata',
    ...job('spec.jobTemplate.spec'),
  ],
  'batch/jobs': ['status', ...job('spec')],
  'coordination.k8s.io/leases': ['spec'],
  'networking.k8s.io/ingressclasses': ['spec'],
  'networking.k8s.io/ingresses': [...halves, 'status.loadBalancer'],
  'networking.k8s.io/networkpolicies': ['spec'],
  'policy/poddisruptionbudgets': halves,
}

/** Dotted paths; none for custom kinds, which have no types. */
export function impliedPaths(type: ResourceType): readonly string[] {
  return type.custom === undefined ? (paths[bucketIdOf(type)] ?? []) : []
}
