/** For tests: a webhook as people write them, an HTTPS server that answers AdmissionReviews. */
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../../x509/index.ts'
import type { JsonMap } from '../../values.ts'

export interface Review {
  readonly path: string
  readonly apiVersion: string
  readonly request: JsonMap & { readonly uid: string }
}

/** What the webhook answers: a `response` without uid, or a raw body with a status. */
export type Answer = JsonMap | { readonly code: number; readonly body: string } | 'hang'

export class WebhookServer {
  readonly seen: Review[] = []
  answer: (review: Review) => Answer = () => ({ allowed: true })
  connections = 0
  readonly #server: Server
  readonly #authority: string
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, authority: string) {
    this.#server = server
    this.#authority = authority
    server.on('connection', (socket: Socket) => {
      this.connections++
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** @param names DNS names of its certificate; 127.0.0.1 is always in it */
  static async start(...names: string[]): Promise<WebhookServer> {
    const authorityKeys = await generateEcKeyPair()
    const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
    const authority = await createCaCertificate({
      keys: authorityKeys,
      subject: { commonName: 'webhook-ca' },
      ...times,
    })
    const keys = await generateEcKeyPair()
    const cert = await issueCertificate({
      issuer: { certificatePem: authority, key: authorityKeys.privateKey },
      publicKey: keys.publicKey,
      subject: { commonName: 'webhook' },
      usages: ['server'],
      names: { dns: names, ips: ['127.0.0.1'] },
      ...times,
    })
    const server = createServer({ key: keys.privatePem, cert })
    const webhook = new WebhookServer(server, authority)
    server.on('request', (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = JSON.parse(Buffer.concat(chunks).toString()) as Omit<Review, 'path'>
        const review = { ...body, path: request.url ?? '' }
        webhook.seen.push(review)
        const answer = webhook.answer(review)
        if (answer === 'hang') return
        if ('body' in answer) {
          response.writeHead(Number(answer.code)).end(String(answer.body))
          return
        }
        const { uid } = review.request
        const full = { kind: 'AdmissionReview', apiVersion: review.apiVersion }
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ ...full, response: { uid, ...answer } }))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return webhook
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get caBundle(): string {
    return Buffer.from(this.#authority).toString('base64')
  }

  /** A `clientConfig` that names the server by its address. */
  client(path = '/'): JsonMap {
    return { url: `https://127.0.0.1:${this.port}${path}`, caBundle: this.caBundle }
  }

  stop(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** The patch of an answer. */
export function patching(...operations: JsonMap[]): JsonMap {
  const patch = Buffer.from(JSON.stringify(operations)).toString('base64')
  return { allowed: true, patchType: 'JSONPatch', patch }
}
