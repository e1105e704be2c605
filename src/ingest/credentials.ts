/**
 * Secrets and ConfigMaps with certificates. Only those are kept: of all the Secrets of a cluster
 * most are none of the mesh's business, and what is not held cannot leak.
 */
import { createHash } from 'node:crypto'
import type { KubeObject } from '../kube/index.ts'
import { Credential, type CredentialParts } from '../model/index.ts'
import { namespaceOf } from './metadata.ts'

const secretTypes: ReadonlySet<string> = new Set(['kubernetes.io/tls', 'Opaque', ''])

interface SecretShape {
  type?: string
  /** Base64. */
  data?: Record<string, unknown>
  stringData?: Record<string, unknown>
}

interface ConfigMapShape {
  data?: Record<string, unknown>
}

/** Data keys: those of generic Secrets before those of `kubernetes.io/tls`. */
export const credentialKeys = {
  certificate: ['cert', 'tls.crt'],
  privateKey: ['key', 'tls.key'],
  ca: ['cacert', 'ca.crt'],
  crl: ['crl', 'ca.crl'],
  ocspStaple: ['ocsp-staple', 'tls.ocsp-staple'],
} as const

/** Undefined for a Secret that has neither a certificate nor roots. */
export function secretCredential(object: KubeObject): Credential | undefined {
  // Read defensively; see shapes.ts.
  const { type = '', data, stringData } = object as SecretShape
  if (!secretTypes.has(type)) return undefined
  const decode = (key: string): string | undefined => {
    const plain = text(stringData?.[key])
    if (plain !== undefined) return plain
    const encoded = text(data?.[key])
    return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8')
  }
  return credentialOf(object, 'Secret', decode)
}

export function configMapCredential(object: KubeObject): Credential | undefined {
  // Read defensively; see shapes.ts.
  const { data } = object as ConfigMapShape
  return credentialOf(object, 'ConfigMap', (key) => text(data?.[key]))
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function credentialOf(
  object: KubeObject,
  kind: CredentialParts['kind'],
  read: (key: string) => string | undefined,
): Credential | undefined {
  const find = (keys: readonly string[]): string | undefined => {
    for (const key of keys) {
      const value = read(key)
      if (value !== undefined) return value
    }
    return undefined
  }
  const certificate = find(credentialKeys.certificate)
  const ca = find(credentialKeys.ca)
  const crl = find(credentialKeys.crl)
  if (certificate === undefined && ca === undefined && crl === undefined) return undefined
  const privateKey = kind === 'Secret' ? find(credentialKeys.privateKey) : undefined
  const ocspStaple = find(credentialKeys.ocspStaple)
  return new Credential({
    kind,
    namespace: namespaceOf(object.metadata),
    name: object.metadata.name,
    ...(certificate === undefined ? {} : { certificate }),
    ...(privateKey === undefined ? {} : { privateKey, privateKeyDigest: digest(privateKey) }),
    ...(ca === undefined ? {} : { ca }),
    ...(crl === undefined ? {} : { crl }),
    ...(ocspStaple === undefined ? {} : { ocspStaple }),
  })
}
