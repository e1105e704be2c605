/**
 * What `kubectl explain KIND` says first, in our own words: the bundles hold facts only. Fields of built-in
 * kinds have names, types and bounds there; CRDs of others bring their authors' descriptions.
 */
import type { Json } from './json.ts'
import type { KindSchema } from './types.ts'

/** By group and kind; all versions of a kind mean the same. */
const ofKinds: Readonly<Record<string, string>> = {
  '/Binding': 'Assigns a pod to a node.',
  '/ConfigMap': 'Settings for pods as named texts and bytes, none of them secret.',
  '/Endpoints': 'The addresses behind a Service in the old form; EndpointSlice is the current one.',
  '/Event': 'A report of something that happened to another object. Kept for an hour.',
  '/LimitRange': 'Bounds and defaults for the resources of containers in a namespace.',
  '/Namespace': 'A scope for names. What is in it goes when it goes.',
  '/Node': 'A machine that runs pods.',
  '/PersistentVolume': 'A piece of storage that outlives pods.',
  '/PersistentVolumeClaim': 'A request for storage, which pods can mount.',
  '/Pod': 'Containers that run together on one node and share one network address.',
  '/PodTemplate': 'A description of pods for programs that make them.',
  '/ReplicationController': 'Keeps a number of equal pods running; superseded by ReplicaSet.',
  '/ResourceQuota': 'Bounds what a namespace may use altogether.',
  '/Secret': 'Confidential values for pods, such as keys and tokens. The values are base64.',
  '/Service': 'A stable name and address for a set of pods that change.',
  '/ServiceAccount': 'The identity of the processes in a pod.',
  'admissionregistration.k8s.io/MutatingWebhookConfiguration':
    'Servers that are asked about requests, and may change objects before they are stored.',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicy':
    'Rules in CEL which requests must satisfy.',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding':
    'Where a ValidatingAdmissionPolicy holds.',
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration':
    'Servers that are asked about requests, and may refuse them.',
  'apiextensions.k8s.io/CustomResourceDefinition':
    'A kind that is added to this API: its names, versions and schemas.',
  'apiregistration.k8s.io/APIService': 'Who serves a version of an API group.',
  'apps/ControllerRevision': 'An earlier state of a workload, to which it can return.',
  'apps/DaemonSet': 'Runs one pod on each node that fits.',
  'apps/Deployment':
    'Keeps equal pods running, and replaces them step by step when their template changes.',
  'apps/ReplicaSet': 'Keeps a number of equal pods running; usually made by a Deployment.',
  'apps/StatefulSet': 'Runs pods with lasting names, one after the other.',
  'authentication.k8s.io/SelfSubjectReview': 'Asks the server who you are.',
  'authentication.k8s.io/TokenReview': 'Asks the server whose token this is.',
  'authorization.k8s.io/LocalSubjectAccessReview':
    'Asks whether somebody may do something in a namespace.',
  'authorization.k8s.io/SelfSubjectAccessReview': 'Asks whether you may do something.',
  'authorization.k8s.io/SelfSubjectRulesReview': 'Asks for all that you may do in a namespace.',
  'authorization.k8s.io/SubjectAccessReview': 'Asks whether somebody may do something.',
  'autoscaling/HorizontalPodAutoscaler': 'Sets the number of pods of a workload by what they use.',
  'batch/CronJob': 'Makes a Job at given times.',
  'batch/Job': 'Runs pods until enough of them have succeeded.',
  'coordination.k8s.io/Lease': 'Who leads, and until when.',
  'discovery.k8s.io/EndpointSlice': 'Addresses behind a Service, with ports and readiness.',
  'events.k8s.io/Event': 'A report of something that happened to another object. Kept for an hour.',
  'gateway.networking.k8s.io/BackendTLSPolicy': 'How a gateway connects to a Service by TLS.',
  'gateway.networking.k8s.io/Gateway': 'An entry for traffic: listeners to which routes attach.',
  'gateway.networking.k8s.io/GatewayClass': 'A sort of gateway, and the controller that makes it.',
  'gateway.networking.k8s.io/GRPCRoute': 'Where gRPC calls go, by service, method and headers.',
  'gateway.networking.k8s.io/HTTPRoute': 'Where HTTP requests go, by host, path, headers and more.',
  'gateway.networking.k8s.io/ListenerSet': 'More listeners for a Gateway, owned by somebody else.',
  'gateway.networking.k8s.io/ReferenceGrant':
    'Lets objects of other namespaces refer to those of this one.',
  'gateway.networking.k8s.io/TCPRoute': 'Where TCP connections go.',
  'gateway.networking.k8s.io/TLSRoute': 'Where TLS connections go, by the name that they ask for.',
  'gateway.networking.k8s.io/UDPRoute': 'Where UDP packets go.',
  'networking.istio.io/DestinationRule':
    'What holds for traffic to a host once it is routed: subsets, load balancing, pools, TLS.',
  'networking.istio.io/EnvoyFilter': 'Changes the configuration that is made for a proxy.',
  'networking.istio.io/Gateway': 'Ports and hosts that proxies at the edge of the mesh serve.',
  'networking.istio.io/ProxyConfig': 'Settings of proxies, for a namespace or for some workloads.',
  'networking.istio.io/ServiceEntry': 'Adds a service to the mesh that Kubernetes does not know.',
  'networking.istio.io/Sidecar': 'What the proxies of some workloads need to know of the mesh.',
  'networking.istio.io/VirtualService': 'How requests to some hosts are routed.',
  'networking.istio.io/WorkloadEntry': 'A workload that is no pod, such as a virtual machine.',
  'networking.istio.io/WorkloadGroup': 'What equal workloads that are no pods have in common.',
  'networking.k8s.io/Ingress': 'Routes from outside to Services, by host and path.',
  'networking.k8s.io/IngressClass': 'A sort of ingress, and the controller that serves it.',
  'networking.k8s.io/NetworkPolicy': 'Which connections pods may make and accept.',
  'policy/PodDisruptionBudget': 'How many pods of a set may be taken away at the same time.',
  'rbac.authorization.k8s.io/ClusterRole': 'Permissions everywhere, or for reuse in namespaces.',
  'rbac.authorization.k8s.io/ClusterRoleBinding':
    'Gives the permissions of a ClusterRole everywhere.',
  'rbac.authorization.k8s.io/Role': 'Permissions inside a namespace.',
  'rbac.authorization.k8s.io/RoleBinding': 'Gives permissions inside a namespace.',
  'scheduling.k8s.io/PriorityClass': 'A named importance of pods.',
  'security.istio.io/AuthorizationPolicy': 'Who may send which requests to a workload.',
  'security.istio.io/PeerAuthentication': 'Whether workloads accept traffic without mutual TLS.',
  'security.istio.io/RequestAuthentication': 'Which tokens (JWT) of users are accepted.',
  'storage.k8s.io/StorageClass': 'A sort of storage that claims can ask for.',
  'telemetry.istio.io/Telemetry': 'What is measured, traced and logged about traffic.',
  'extensions.istio.io/WasmPlugin': 'Extends proxies by a WebAssembly module.',
}

/** Every object has these. */
const ofFields: Readonly<Record<string, string>> = {
  apiVersion: 'The group and version of the API in which this object is written.',
  kind: 'The kind of this object.',
  metadata: 'Name, labels, annotations and whatever else all objects have.',
  spec: 'What is wanted.',
  status: 'What is the case, as controllers have seen it.',
}

/** Fills in what a kind's schema does not say itself. */
export function describe({ gvk }: KindSchema, schema: Json): void {
  const text = ofKinds[`${gvk.group}/${gvk.kind}`]
  if (text !== undefined) schema['description'] ??= text
  // As entered above: each is an object of its own, though it may hold a reference.
  const properties = (schema['properties'] ?? {}) as Record<string, Json>
  for (const [name, sentence] of Object.entries(ofFields)) {
    const property = properties[name]
    if (property === undefined || property['description'] !== undefined) continue
    const { $ref, ...rest } = property
    properties[name] = {
      description: sentence,
      ...($ref === undefined ? rest : { allOf: [{ $ref }] }),
    }
  }
}
