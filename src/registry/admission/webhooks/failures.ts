/** What is said of calls that failed, in the words which users of Kubernetes search for. */
import { errnoOf, toError } from '../../../base/index.ts'
import { limits } from '../../limits.ts'

const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
])

/** Why a connection could not be made, or broke. */
export function failureText(error: unknown, url: URL): string {
  const code = errnoOf(error) ?? ''
  const { host, hostname, port } = url
  const target = port === '' ? `${host}:443` : host
  const verification = 'tls: failed to verify certificate: x509: certificate'
  if (untrusted.has(code)) return `${verification} signed by unknown authority`
  switch (code) {
    case 'ECONNREFUSED':
      return `dial tcp ${target}: connect: connection refused`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${hostname}: no such host`
    case 'EHOSTUNREACH':
      return `dial tcp ${target}: connect: no route to host`
    case 'ETIMEDOUT':
      return `dial tcp ${target}: i/o timeout`
    case 'EACCES':
      return `dial tcp ${target}: connect: permission denied (start the mesh with --host-access to reach this machine)`
    case 'ECONNRESET':
      return 'EOF'
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return `${verification} has expired or is not yet valid`
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `${verification} is valid for ${namesIn(error)}, not ${hostname}`
    default:
      return toError(error).message
  }
}

function namesIn(error: unknown): string {
  const { cert } = error as { cert?: { subjectaltname?: string } }
  const names = (cert?.subjectaltname ?? '').split(', ').map((name) => name.replace(/^[^:]*:/, ''))
  return names.filter((name) => name !== '').join(', ') || 'no name'
}

const texts: Readonly<Record<number, string>> = {
  401: 'the server has asked for the client to provide credentials',
  403: 'the server does not allow access to the requested resource',
  404: 'the server could not find the requested resource',
  405: 'the server does not allow this method on the requested resource',
  409: 'the server reported a conflict',
  422: 'the server rejected our request due to an error in our request',
  429: 'the server has received too many requests and has asked us to try again later',
  503: 'the server is currently unable to handle the request',
  504: 'the server was unable to return a response in the time allotted, but may still be processing the request',
}

/** Why an answer that is no success doesn't count. */
export function statusText(code: number, body: string): string {
  const text = texts[code]
  if (text !== undefined) return text
  if (code >= 500) {
    const shown = JSON.stringify(body.slice(0, limits.webhookFailureTextMax))
    return `an error on the server (${shown}) has prevented the request from succeeding`
  }
  return 'the server rejected our request for an unknown reason'
}
