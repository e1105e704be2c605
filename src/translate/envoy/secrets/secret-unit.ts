/**
 * Certificates from Secrets and ConfigMaps as resources (SDS). Each is a unit by itself: a rotated
 * certificate is one small push, and no listener is touched. One that is not there, or can't be read, is no
 * resource: the proxy keeps what it had, and a new listener waits.
 */
import type { Credential } from '../../../model/index.ts'
import { core, tlsCommon, tlsSecret } from '../../../proto/envoy.ts'
import { create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import type { Reader } from '../../reader.ts'
import { textSource } from '../policies/filters.ts'
import type { Problem } from '../policies/problem.ts'
import type { Made, Unit } from '../unit.ts'
import { parseSecretName, rootsSuffix, type SecretName } from './names.ts'
import { isCertificates, isPrivateKey, isRevocationList } from './pem.ts'

export function secretUnit(name: string): Unit {
  return {
    key: `secret|${name}`,
    make: ({ scope }) => translateSecret(scope.reader, name, scope.view.namespace),
  }
}

/** @param ownNamespace of the proxy, for names without one */
export function translateSecret(reader: Reader, name: string, ownNamespace: string): Made {
  const parsed = parseSecretName(name, ownNamespace)
  if (parsed === undefined) return problem(undefined, `'${name}' names no secret`)
  const found = parsed.name.endsWith(rootsSuffix)
    ? roots(reader, parsed)
    : certificate(credentialOf(reader, parsed))
  if (typeof found === 'string') return problem(parsed, found)
  const message = create(tlsSecret.SecretSchema, { name, type: found })
  const schema = tlsSecret.SecretSchema
  const resource = encodeResource({ name, typeUrl: typeUrl.secret, schema, message })
  return { resources: [resource], units: [], problems: [] }
}

function problem(name: SecretName | undefined, message: string): Made {
  const config =
    name === undefined
      ? undefined
      : `/api/v1/namespaces/${name.namespace}/${name.kind.toLowerCase()}/${name.name}`
  const problems: Problem[] = [{ config, path: '/data', message }]
  return { resources: [], units: [], problems }
}

function credentialOf(
  reader: Reader,
  { kind, namespace, name }: SecretName,
): Credential | undefined {
  return reader.credential(kind, `${namespace}/${name}`)
}

type SecretType = tlsSecret.Secret['type']

function certificate(credential: Credential | undefined): SecretType | string {
  if (credential === undefined) return 'there is no such certificate; connections that need it fail'
  const { certificate: chain, ocspStaple } = credential
  if (chain === '') return 'it has no certificate (tls.crt or cert)'
  if (!isCertificates(chain)) return 'its certificate is no PEM; the last good one stays in use'
  const key = credential.revealPrivateKey()
  if (key === '') return 'it has no private key (tls.key or key)'
  if (!isPrivateKey(key)) return 'its private key is no PEM; the last good one stays in use'
  return {
    case: 'tlsCertificate',
    value: create(tlsCommon.TlsCertificateSchema, {
      certificateChain: textSource(chain),
      privateKey: textSource(key),
      ...(ocspStaple === ''
        ? {}
        : {
            ocspStaple: create(core.DataSourceSchema, {
              specifier: { case: 'inlineBytes', value: Buffer.from(ocspStaple, 'base64') },
            }),
          }),
    }),
  }
}

/** A sibling `<name>-cacert`, else the roots beside the certificate itself. */
function roots(reader: Reader, name: SecretName): SecretType | string {
  const sibling = credentialOf(reader, name)
  const plain = { ...name, name: name.name.slice(0, -rootsSuffix.length) }
  const credential = sibling?.ca || sibling?.certificate ? sibling : credentialOf(reader, plain)
  if (credential === undefined) return 'there are no such roots; connections that need them fail'
  // A Secret with nothing but roots may have them in the certificate's place.
  const text = credential.ca || (credential === sibling ? credential.certificate : '')
  if (text === '') return 'it has no roots (ca.crt or cacert)'
  if (!isCertificates(text)) return 'its roots are no PEM; the last good ones stay in use'
  const { crl } = credential
  if (crl !== '' && !isRevocationList(crl)) return 'its revocation list (ca.crl) is no PEM'
  return {
    case: 'validationContext',
    value: create(tlsCommon.CertificateValidationContextSchema, {
      trustedCa: textSource(text),
      ...(crl === '' ? {} : { crl: textSource(crl) }),
    }),
  }
}
