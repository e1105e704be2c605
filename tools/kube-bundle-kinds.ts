/** Which built-in kinds go into the bundle, and the definitions which the source can't express. */
import type { SchemaNode } from '../src/schema/types.ts'

export const builtinKinds: Record<string, readonly string[]> = {
  v1: [
    'Binding',
    'ConfigMap',
    'Endpoints',
    'Event',
    'LimitRange',
    'Namespace',
    'Node',
    'PersistentVolume',
    'PersistentVolumeClaim',
    'Pod',
    'PodTemplate',
    'ReplicationController',
    'ResourceQuota',
    'Secret',
    'Service',
    'ServiceAccount',
  ],
  'admissionregistration.k8s.io/v1': [
    'MutatingWebhookConfiguration',
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
    'ValidatingWebhookConfiguration',
  ],
  'apiextensions.k8s.io/v1': ['CustomResourceDefinition'],
  'apiregistration.k8s.io/v1': ['APIService'],
  'apps/v1': ['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'],
  'authentication.k8s.io/v1': ['SelfSubjectReview', 'TokenRequest', 'TokenReview'],
  'authorization.k8s.io/v1': [
    'LocalSubjectAccessReview',
    'SelfSubjectAccessReview',
    'SelfSubjectRulesReview',
    'SubjectAccessReview',
  ],
  'autoscaling/v1': ['HorizontalPodAutoscaler', 'Scale'],
  'autoscaling/v2': ['HorizontalPodAutoscaler'],
  'batch/v1': ['CronJob', 'Job'],
  'coordination.k8s.io/v1': ['Lease'],
  'discovery.k8s.io/v1': ['EndpointSlice'],
  'events.k8s.io/v1': ['Event'],
  'networking.k8s.io/v1': ['Ingress', 'IngressClass', 'NetworkPolicy'],
  'policy/v1': ['Eviction', 'PodDisruptionBudget'],
  'rbac.authorization.k8s.io/v1': ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
  'scheduling.k8s.io/v1': ['PriorityClass'],
  'storage.k8s.io/v1': ['StorageClass'],
}

/** Kinds whose definition doesn't say which group, version and kind it is. */
export const definitionRoots: Record<string, string> = {}

const anything: SchemaNode = { preserveUnknown: true }
const object: SchemaNode = { type: 'object', preserveUnknown: true }
const schemaProps = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'

/** Types which JSON Schema spells badly or not at all. */
export const definitionOverrides: Record<string, SchemaNode> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { type: 'string', format: 'quantity' },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { intOrString: true, format: 'int-or-string' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': { type: 'string', format: 'date-time' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': { type: 'string', format: 'date-time-micro' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': object,
  'io.k8s.apimachinery.pkg.runtime.RawExtension': object,
  [`${schemaProps}.JSON`]: anything,
  // References by name are followed when a CRD is read; here each is checked by that reading.
  [`${schemaProps}.JSONSchemaPropsOrBool`]: anything,
  [`${schemaProps}.JSONSchemaPropsOrArray`]: anything,
  [`${schemaProps}.JSONSchemaPropsOrStringArray`]: anything,
  [`${schemaProps}.CustomResourceSubresourceStatus`]: object,
}
