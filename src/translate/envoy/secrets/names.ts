/**
 * Names of secrets that the control plane serves: `kubernetes://[<namespace>/]<name>` for Secrets,
 * `configmap://[<namespace>/]<name>` for ConfigMaps. Without a namespace it is the proxy's own. With
 * `-cacert` behind it the name means the roots to check peers with, else the certificate with its key.
 */

export interface SecretName {
  readonly kind: 'Secret' | 'ConfigMap'
  readonly namespace: string
  readonly name: string
}

const schemes = { 'kubernetes://': 'Secret', 'configmap://': 'ConfigMap' } as const

export const rootsSuffix = '-cacert'

/** Undefined for what is no such name. */
export function parseSecretName(text: string, ownNamespace: string): SecretName | undefined {
  for (const [scheme, kind] of Object.entries(schemes)) {
    if (!text.startsWith(scheme)) continue
    const [first = '', second, ...rest] = text.slice(scheme.length).split('/')
    if (first === '' || second === '' || rest.length > 0) return undefined
    return second === undefined
      ? { kind, namespace: ownNamespace, name: first }
      : { kind, namespace: first, name: second }
  }
  return undefined
}

export function secretName(kind: SecretName['kind'], namespace: string, name: string): string {
  return `${kind === 'Secret' ? 'kubernetes' : 'configmap'}://${namespace}/${name}`
}
