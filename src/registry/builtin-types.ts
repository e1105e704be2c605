/** The table of built-in resources. Discovery, routing and the pipeline are generated from it. */
import { allVerbs, type ResourceType } from './resource-type.ts'

interface Row {
  readonly short?: readonly string[]
  readonly all?: true
  readonly sub?: readonly string[]
  readonly cluster?: true
  readonly verbs?: readonly string[]
  readonly generation?: true
  readonly singular?: string
  readonly warning?: string
  /** The version that is stored, when it is not this one. */
  readonly stored?: string
  /** Why no object is accepted. */
  readonly refusal?: string
}

const notEnforced = (what: string): string =>
  `${what} is stored but not enforced in standalone mode`

const noPolicies =
  'admission policies are not evaluated in standalone mode; a webhook configuration with matchConditions is'

const status = ['status']
const scalable = ['status', 'scale']

const groups: Record<string, Record<string, Row>> = {
  v1: {
    'bindings/Binding': { verbs: ['create'] },
    'configmaps/ConfigMap': { short: ['cm'] },
    'endpoints/Endpoints': { short: ['ep'], singular: 'endpoints' },
    'events/Event': { short: ['ev'] },
    'limitranges/LimitRange': { short: ['limits'], warning: notEnforced('a LimitRange') },
    'namespaces/Namespace': {
      short: ['ns'],
      cluster: true,
      sub: ['finalize', 'status'],
      verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    },
    'nodes/Node': { short: ['no'], cluster: true, sub: status },
    'persistentvolumeclaims/PersistentVolumeClaim': { short: ['pvc'], sub: status },
    'persistentvolumes/PersistentVolume': { short: ['pv'], cluster: true, sub: status },
    'pods/Pod': {
      short: ['po'],
      all: true,
      generation: true,
      sub: ['attach', 'binding', 'eviction', 'exec', 'log', 'portforward', 'proxy', 'status'],
    },
    'podtemplates/PodTemplate': {},
    'replicationcontrollers/ReplicationController': {
      short: ['rc'],
      all: true,
      sub: scalable,
      generation: true,
      warning: notEnforced('a ReplicationController'),
    },
    'resourcequotas/ResourceQuota': {
      short: ['quota'],
      sub: status,
      warning: notEnforced('a ResourceQuota'),
    },
    'secrets/Secret': {},
    'serviceaccounts/ServiceAccount': { short: ['sa'], sub: ['token'] },
    'services/Service': { short: ['svc'], all: true, sub: ['proxy', 'status'] },
  },
  'admissionregistration.k8s.io/v1': {
    'mutatingwebhookconfigurations/MutatingWebhookConfiguration': {
      cluster: true,
      generation: true,
    },
    'validatingadmissionpolicies/ValidatingAdmissionPolicy': {
      cluster: true,
      sub: status,
      generation: true,
      singular: 'validatingadmissionpolicy',
      refusal: noPolicies,
    },
    'validatingadmissionpolicybindings/ValidatingAdmissionPolicyBinding': {
      cluster: true,
      generation: true,
      refusal: noPolicies,
    },
    'validatingwebhookconfigurations/ValidatingWebhookConfiguration': {
      cluster: true,
      generation: true,
    },
  },
  'apiextensions.k8s.io/v1': {
    'customresourcedefinitions/CustomResourceDefinition': {
      short: ['crd', 'crds'],
      cluster: true,
      sub: status,
      generation: true,
    },
  },
  'apiregistration.k8s.io/v1': {
    'apiservices/APIService': {
      cluster: true,
      sub: status,
      generation: true,
      warning: 'an APIService is stored, but which APIs are served does not depend on it',
    },
  },
  'apps/v1': {
    'controllerrevisions/ControllerRevision': {},
    'daemonsets/DaemonSet': { short: ['ds'], all: true, sub: status, generation: true },
    'deployments/Deployment': { short: ['deploy'], all: true, sub: scalable, generation: true },
    'replicasets/ReplicaSet': { short: ['rs'], all: true, sub: scalable, generation: true },
    'statefulsets/StatefulSet': { short: ['sts'], all: true, sub: scalable, generation: true },
  },
  'authentication.k8s.io/v1': {
    'selfsubjectreviews/SelfSubjectReview': { cluster: true, verbs: ['create'] },
    'tokenreviews/TokenReview': { cluster: true, verbs: ['create'] },
  },
  'authorization.k8s.io/v1': {
    'localsubjectaccessreviews/LocalSubjectAccessReview': { verbs: ['create'] },
    'selfsubjectaccessreviews/SelfSubjectAccessReview': { cluster: true, verbs: ['create'] },
    'selfsubjectrulesreviews/SelfSubjectRulesReview': { cluster: true, verbs: ['create'] },
    'subjectaccessreviews/SubjectAccessReview': { cluster: true, verbs: ['create'] },
  },
  'autoscaling/v1': {
    'horizontalpodautoscalers/HorizontalPodAutoscaler': {
      short: ['hpa'],
      all: true,
      sub: status,
      stored: 'v2',
    },
  },
  'autoscaling/v2': {
    'horizontalpodautoscalers/HorizontalPodAutoscaler': { short: ['hpa'], all: true, sub: status },
  },
  'batch/v1': {
    'cronjobs/CronJob': { short: ['cj'], all: true, sub: status, generation: true },
    'jobs/Job': { all: true, sub: status, generation: true },
  },
  'coordination.k8s.io/v1': { 'leases/Lease': {} },
  'discovery.k8s.io/v1': { 'endpointslices/EndpointSlice': { generation: true } },
  'events.k8s.io/v1': { 'events/Event': { short: ['ev'] } },
  'networking.k8s.io/v1': {
    'ingressclasses/IngressClass': { cluster: true, generation: true },
    'ingresses/Ingress': { short: ['ing'], sub: status, generation: true, singular: 'ingress' },
    'networkpolicies/NetworkPolicy': {
      short: ['netpol'],
      generation: true,
      singular: 'networkpolicy',
      warning: notEnforced('a NetworkPolicy'),
    },
  },
  'policy/v1': {
    'poddisruptionbudgets/PodDisruptionBudget': { short: ['pdb'], sub: status, generation: true },
  },
  'rbac.authorization.k8s.io/v1': {
    'clusterrolebindings/ClusterRoleBinding': { cluster: true },
    'clusterroles/ClusterRole': { cluster: true },
    'rolebindings/RoleBinding': {},
    'roles/Role': {},
  },
  'scheduling.k8s.io/v1': {
    'priorityclasses/PriorityClass': {
      short: ['pc'],
      cluster: true,
      generation: true,
      singular: 'priorityclass',
    },
  },
  'storage.k8s.io/v1': {
    'storageclasses/StorageClass': {
      short: ['sc'],
      cluster: true,
      singular: 'storageclass',
      warning: notEnforced('a StorageClass'),
    },
  },
}

/** All built-in resource types, in the order of group and name. */
export function builtinTypes(): ResourceType[] {
  const types: ResourceType[] = []
  for (const [apiVersion, rows] of Object.entries(groups)) {
    const slash = apiVersion.indexOf('/')
    const group = slash < 0 ? '' : apiVersion.slice(0, slash)
    const version = apiVersion.slice(slash + 1)
    for (const [names, row] of Object.entries(rows)) {
      const [resource = '', kind = ''] = names.split('/')
      types.push({
        group,
        version,
        kind,
        listKind: `${kind}List`,
        resource,
        singular: row.singular ?? kind.toLowerCase(),
        namespaced: row.cluster !== true,
        shortNames: row.short ?? [],
        categories: row.all === true ? ['all'] : [],
        verbs: row.verbs ?? allVerbs,
        subresources: row.sub ?? [],
        storageVersion: row.stored ?? version,
        generation: row.generation === true,
        custom: undefined,
        warning: row.warning,
        refusal: row.refusal,
      })
    }
  }
  return types
}
