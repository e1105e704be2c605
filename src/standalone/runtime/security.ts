/**
 * Who a container runs as and what it may keep. A workload must not be able to defeat the mesh, so
 * that it gets no capability at all; what a pod asks for beyond is refused, and said in an event.
 */
import type { ImageProgram } from '../images/index.ts'
import { type Container, namespaceOf, type Pod, specOf } from './types.ts'

export interface Identity {
  /** Undefined in rootless mode: there is one user, namespace uid 0 without capabilities. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined
  /** Without `CAP_`; usually none. */
  readonly capabilities: readonly string[]
}

export interface SecurityRules {
  /** Root mode: workloads get a non-zero uid. */
  readonly root: boolean
  /** Where Weft's own programs may keep what they need. */
  readonly meshNamespace: string
}

/** The user of pods that name none ("nobody"). */
export const defaultUid = 65534

/** Sidecar mode's init container writes packet rules; in its own network namespace that is harmless. */
const initCapabilities = ['NET_ADMIN', 'NET_RAW']

export function identityOf(
  pod: Pod,
  container: Container,
  role: 'init' | 'sidecar' | 'main',
  program: ImageProgram,
  rules: SecurityRules,
): Identity {
  const capabilities = grantedCapabilities(pod, container, role, program, rules)
  if (!rules.root) return { user: undefined, capabilities }
  // Capabilities of a uid other than 0 would be lost at exec; the pod's group lets it read the volumes.
  if (capabilities.length > 0) {
    return { user: { uid: 0, gid: podUser(pod, container).gid }, capabilities }
  }
  return { user: podUser(pod, container), capabilities }
}

/** Files of the pod's volumes belong to this user. */
export function podUser(pod: Pod, container?: Container): { uid: number; gid: number } {
  const own = container?.securityContext
  const whole = specOf(pod).securityContext
  const uid = own?.runAsUser ?? whole?.runAsUser ?? defaultUid
  const gid = own?.runAsGroup ?? whole?.runAsGroup ?? whole?.fsGroup ?? defaultUid
  return { uid: uid === 0 ? defaultUid : uid, gid: gid === 0 ? defaultUid : gid }
}

/** One of Weft's own programs where it may have privileges. */
export function isMeshPod(pod: Pod, program: ImageProgram, rules: SecurityRules): boolean {
  return program.mesh !== undefined && namespaceOf(pod) === rules.meshNamespace
}

/** Whether the container sees the mesh's run directory. */
export function seesRunDir(pod: Pod, program: ImageProgram, rules: SecurityRules): boolean {
  return isMeshPod(pod, program, rules) && program.mesh?.runDir === true
}

function grantedCapabilities(
  pod: Pod,
  container: Container,
  role: 'init' | 'sidecar' | 'main',
  program: ImageProgram,
  rules: SecurityRules,
): readonly string[] {
  if (isMeshPod(pod, program, rules)) return program.mesh?.capabilities ?? []
  // In the node's namespace they would reach everyone's traffic.
  if (role !== 'init' || specOf(pod).hostNetwork === true) return []
  const asked = askedCapabilities(container)
  return initCapabilities.filter((name) => asked.includes(name))
}

function askedCapabilities(container: Container): string[] {
  return (container.securityContext?.capabilities?.add ?? []).map((name) =>
    name.toUpperCase().replace(/^CAP_/, ''),
  )
}

/** What the pod asks for and does not get: one sentence each, for `NotEnforced` events. */
export function notEnforced(
  pod: Pod,
  container: Container,
  identity: Identity,
  program: ImageProgram,
  rules: SecurityRules,
): string[] {
  // Weft's own pods carry what a cluster needs; here the catalogue decides, and nobody need read about it.
  if (isMeshPod(pod, program, rules)) return []
  const at = `spec.containers{${container.name}}`
  const context = container.securityContext ?? {}
  const sentences = [...podSentences(pod), ...limitSentences(at, container)]
  const refused = askedCapabilities(container).filter(
    (name) => !identity.capabilities.includes(name),
  )
  if (refused.length > 0) {
    sentences.push(
      `${at}.securityContext.capabilities.add: ${refused.join(', ')} refused; standalone pods have no capabilities ` +
        '(NET_ADMIN and NET_RAW in init containers excepted)',
    )
  }
  if (context.privileged === true) {
    sentences.push(
      `${at}.securityContext.privileged is refused: standalone pods are never privileged`,
    )
  }
  const asked = context.runAsUser ?? specOf(pod).securityContext?.runAsUser
  if (!rules.root && asked !== undefined) {
    sentences.push(
      `${at}.securityContext.runAsUser ${asked} is not honoured in rootless mode: the process runs as your own user ` +
        'without capabilities; use "weft up --root" to have it',
    )
  } else if (asked === 0 && identity.user?.uid !== 0) {
    sentences.push(
      `${at}.securityContext.runAsUser 0 is not honoured: the process runs as uid ${identity.user?.uid}`,
    )
  }
  return sentences
}

/** Limits are not enforced without cgroups; requests mean nothing on one node. */
function limitSentences(at: string, container: Container): string[] {
  const names = Object.keys(container.resources?.limits ?? {})
  if (names.length === 0) return []
  return [
    `${at}.resources.limits (${names.join(', ')}) are not enforced: standalone pods run without cgroups`,
  ]
}

function podSentences(pod: Pod): string[] {
  const spec = specOf(pod)
  const shared = (['hostPID', 'hostIPC', 'shareProcessNamespace'] as const).filter(
    (field) => spec[field] === true,
  )
  const ports = spec.containers.flatMap(({ ports: list = [] }) =>
    list.filter(({ hostPort }) => hostPort !== undefined),
  )
  const sized = (spec.volumes ?? []).filter(
    ({ emptyDir }) => emptyDir?.sizeLimit !== undefined && emptyDir.medium !== 'Memory',
  )
  return [
    ...sized.map(
      ({ name }) =>
        `spec.volumes{${name}}.emptyDir.sizeLimit is not enforced on disk: use "medium: Memory" to have it`,
    ),
    ...shared.map(
      (field) => `spec.${field} is not honoured: every container has processes and IPC of its own`,
    ),
    ...(ports.length === 0 || spec.hostNetwork === true
      ? []
      : [
          `spec.containers[].ports[].hostPort (${ports.map(({ hostPort }) => hostPort).join(', ')}) is not honoured: ` +
            'use a Service of type LoadBalancer',
        ]),
  ]
}
