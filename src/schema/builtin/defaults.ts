/** Which defaults belong to which kind. Schemas carry hardly any; upstream has them in code. */
import type { GroupVersionKind } from '../../kube/index.ts'
import { isMap, type Json } from '../json.ts'
import * as config from './config-defaults.ts'
import * as network from './network-defaults.ts'
import { podDefaults, podTemplateDefaults } from './pod-defaults.ts'
import * as workload from './workload-defaults.ts'

const rbac = 'rbac.authorization.k8s.io'
const admission = 'admissionregistration.k8s.io'

const byKind: Record<string, (object: Json) => void> = {
  '/Endpoints': network.endpointsDefaults,
  '/Namespace': config.namespaceDefaults,
  '/PersistentVolume': config.persistentVolumeDefaults,
  '/PersistentVolumeClaim': workload.persistentVolumeClaimDefaults,
  '/Pod': podDefaults,
  '/PodTemplate': podTemplateDefaults,
  '/ReplicationController': workload.replicationControllerDefaults,
  '/Secret': config.secretDefaults,
  '/Service': network.serviceDefaults,
  'apps/DaemonSet': workload.daemonSetDefaults,
  'apps/Deployment': workload.deploymentDefaults,
  'apps/ReplicaSet': workload.replicaSetDefaults,
  'apps/StatefulSet': workload.statefulSetDefaults,
  'autoscaling/HorizontalPodAutoscaler': workload.autoscalerDefaults,
  'batch/CronJob': workload.cronJobDefaults,
  'batch/Job': workload.jobDefaults,
  'discovery.k8s.io/EndpointSlice': network.endpointSliceDefaults,
  'networking.k8s.io/Ingress': network.ingressDefaults,
  'networking.k8s.io/NetworkPolicy': network.networkPolicyDefaults,
  'scheduling.k8s.io/PriorityClass': config.priorityClassDefaults,
  'storage.k8s.io/StorageClass': config.storageClassDefaults,
  'apiextensions.k8s.io/CustomResourceDefinition': config.crdDefaults,
  [`${admission}/MutatingWebhookConfiguration`]: config.webhookDefaults,
  [`${admission}/ValidatingWebhookConfiguration`]: config.webhookDefaults,
  [`${rbac}/ClusterRoleBinding`]: config.roleBindingDefaults,
  [`${rbac}/RoleBinding`]: config.roleBindingDefaults,
}

/**
 * Fills the defaults of a built-in kind into the object itself; does nothing for other kinds.
 * Comes after `applyDefaults`, and for Jobs after the uid is set, because their selector is the
 * uid. Addresses and node ports of Services are for the caller to allocate.
 */
export function builtinDefaults(gvk: GroupVersionKind, object: unknown): void {
  if (isMap(object)) byKind[`${gvk.group}/${gvk.kind}`]?.(object)
}
