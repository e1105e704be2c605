/** Subresources that Kubernetes has and standalone mode has not: what to use instead. */
import { type ApiError, methodNotAllowed } from '../kube/index.ts'
import type { ResourceType } from './resource-type.ts'

const texts: Readonly<Record<string, string>> = {
  '/pods/ephemeralcontainers':
    'ephemeral containers are not supported in standalone mode: a running pod gets no more containers. ' +
    'Use "kubectl exec" for a shell in the pod, or "kubectl debug --copy-to=NAME" for a changed copy of it',
  '/nodes/proxy':
    'nodes/proxy is not supported in standalone mode: the node has no kubelet API. ' +
    'Use "kubectl logs", "exec", "port-forward" and "top"',
}

/** The answer to a subresource that is left out on purpose; undefined for all others. */
export function refusedSubresource(type: ResourceType, subresource: string): ApiError | undefined {
  const text = texts[`${type.group}/${type.resource}/${subresource}`]
  return text === undefined ? undefined : methodNotAllowed(text)
}
