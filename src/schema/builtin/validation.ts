/** Which rules belong to which kind; the schema's own checks come before these. */
import type { FieldError, GroupVersionKind } from '../../kube/index.ts'
import { asMap, isMap, type Json } from '../json.ts'
import * as batch from './batch-validation.ts'
import * as config from './config-validation.ts'
import { crdErrors } from './crd-validation.ts'
import { metadataErrors } from './metadata-validation.ts'
import * as network from './network-validation.ts'
import { podErrors } from './pod-validation.ts'
import * as policy from './policy-validation.ts'
import { Cursor } from './report.ts'
import * as workload from './workload-validation.ts'

const rbac = 'rbac.authorization.k8s.io'
const admission = 'admissionregistration.k8s.io'

const byKind: Record<string, (object: Cursor, old: Json | undefined) => void> = {
  '/ConfigMap': config.configMapErrors,
  '/Pod': podErrors,
  '/Secret': config.secretErrors,
  '/Service': network.serviceErrors,
  'apps/DaemonSet': workload.daemonSetErrors,
  'apps/Deployment': workload.deploymentErrors,
  'apps/ReplicaSet': workload.replicaSetErrors,
  'apps/StatefulSet': workload.statefulSetErrors,
  'autoscaling/HorizontalPodAutoscaler': policy.autoscalerErrors,
  'batch/CronJob': batch.cronJobErrors,
  'batch/Job': batch.jobErrors,
  'discovery.k8s.io/EndpointSlice': network.endpointSliceErrors,
  'networking.k8s.io/Ingress': network.ingressErrors,
  'policy/PodDisruptionBudget': policy.disruptionBudgetErrors,
  'apiextensions.k8s.io/CustomResourceDefinition': crdErrors,
  'apiregistration.k8s.io/APIService': config.apiServiceErrors,
  [`${admission}/MutatingWebhookConfiguration`]: config.webhookErrors,
  [`${admission}/ValidatingWebhookConfiguration`]: config.webhookErrors,
  [`${rbac}/ClusterRole`]: config.roleErrors,
  [`${rbac}/Role`]: config.roleErrors,
  [`${rbac}/ClusterRoleBinding`]: config.roleBindingErrors,
  [`${rbac}/RoleBinding`]: config.roleBindingErrors,
}

/**
 * Complaints that schemas can't express: metadata for every kind, and for built-in kinds names,
 * selectors, duplicates, ranges and fields that may not change. Expects defaults to be filled in.
 * @param old the stored object, when this is an update
 */
export function builtinValidation(
  gvk: GroupVersionKind,
  object: unknown,
  old?: unknown,
): FieldError[] {
  if (!isMap(object)) return []
  const before = asMap(old)
  const errors = metadataErrors(gvk, object, before)
  byKind[`${gvk.group}/${gvk.kind}`]?.(new Cursor(object, '', errors), before)
  return distinct(errors)
}

/** Schema and code may complain about the same field in the same words. */
function distinct(errors: readonly FieldError[]): FieldError[] {
  const seen = new Set<string>()
  return errors.filter(({ field, message }) => {
    const key = `${field} ${message}`
    return !seen.has(key) && seen.add(key) !== undefined
  })
}
