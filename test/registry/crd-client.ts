/** Plain requests to a registry of the harness, as its administrator, on one connection. */
import { type ClientHttp2Session, connect } from 'node:http2'
import type { Json } from './crd-corpus.ts'
import type { RegistryHarness } from './harness.ts'

export interface Answer {
  readonly code: number
  readonly body: Json
  readonly text: string
}

export interface Cause {
  readonly field: string
  readonly reason: string
  readonly message: string
}

export class Client {
  readonly #session: ClientHttp2Session

  constructor({ registry, url }: RegistryHarness) {
    const { certPem: cert, keyPem: key } = registry.adminCredentials
    this.#session = connect(url, { ca: registry.caCertificatePem, cert, key })
  }

  close(): void {
    this.#session.close()
  }

  send(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answer> {
    const stream = this.#session.request({
      ':method': method,
      ':path': path,
      ...(body === undefined ? {} : { 'content-type': type }),
    })
    stream.end(body === undefined ? undefined : JSON.stringify(body))
    return new Promise((resolve, reject) => {
      let code = 0
      let text = ''
      stream.setEncoding('utf8')
      stream.once('response', (headers) => {
        code = Number(headers[':status'])
      })
      stream.on('data', (chunk: string) => {
        text += chunk
      })
      stream.once('end', () => resolve({ code, text, body: JSON.parse(text) as Json }))
      stream.once('error', reject)
    })
  }
}

/** What a Status names as wrong. */
export function causesOf({ body }: Answer): Cause[] {
  const details = body['details'] as { causes?: Cause[] } | undefined
  return details?.causes ?? []
}

/** The collection in which objects of a definition live. */
export function collectionOf(crd: Json, apiVersion: string): string {
  const { names, scope } = crd['spec'] as { names: { plural: string }; scope: string }
  const place = scope === 'Cluster' ? '' : '/namespaces/default'
  return `/apis/${apiVersion}${place}/${names.plural}`
}
