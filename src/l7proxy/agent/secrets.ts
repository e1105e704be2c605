/**
 * The secret discovery service for one Envoy, on a Unix socket: the workload's certificate, the mesh's roots,
 * and those of the control plane. A renewed certificate goes out on the open streams, so that Envoy takes it
 * without losing a connection.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { type Clock, type Component, type Logger, type Timer, toError } from '../../base/index.ts'
import { GrpcError, GrpcServer, grpcStatus, type ServerStream } from '../../grpc/index.ts'
import type { CertificateManager, WorkloadCertificate } from '../../identity/index.ts'
import { tlsSecret } from '../../proto/envoy.ts'
import {
  create,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  fromJson,
  typeUrl,
} from '../../proto/index.ts'
import { secretNames } from './bootstrap.ts'
import { limits } from './limits.ts'

export interface SecretServerOptions {
  readonly socketPath: string
  readonly identity: string
  readonly certificates: CertificateManager
  /** The file with the control plane's roots. */
  readonly rootCaPath: string
  readonly clock: Clock
  readonly logger: Logger
}

const method = {
  name: 'StreamSecrets',
  parent: { typeName: 'envoy.service.secret.v3.SecretDiscoveryService' },
  input: DiscoveryRequestSchema,
  output: DiscoveryResponseSchema,
}

type Stream = ServerStream<DiscoveryRequest, DiscoveryResponse | Uint8Array | readonly Uint8Array[]>

interface Subscriber {
  readonly stream: Stream
  names: ReadonlySet<string>
  /** What was sent last, by name. */
  readonly sent: Map<string, string>
  nonce: number
}

/** A secret as Envoy's JSON, and what tells it from others of its name. */
interface Known {
  readonly mark: string
  readonly content: Readonly<Record<string, { readonly [key: string]: { inlineString: string } }>>
}

export class SecretServer implements Component {
  readonly #options: SecretServerOptions
  readonly #server: GrpcServer
  readonly #subscribers = new Set<Subscriber>()
  readonly #secrets = new Map<string, Known>()
  #remove: (() => void) | undefined
  #timer: Timer | undefined

  constructor(options: SecretServerOptions) {
    this.#options = options
    const { socketPath, logger } = options
    this.#server = new GrpcServer({
      listeners: [{ host: '', port: 0, path: socketPath, tls: false }],
      logger,
    })
    this.#server.registerBidi(method, (stream) => this.#serve(stream))
  }

  async start(): Promise<void> {
    const { socketPath, certificates, clock, identity } = this.#options
    mkdirSync(dirname(socketPath), { recursive: true })
    // Of an earlier run of this container.
    rmSync(socketPath, { force: true })
    this.#remove = certificates.onChange((certificate) => this.#take(certificate))
    const current = certificates.current(identity)
    if (current !== undefined) this.#take(current)
    this.#readRoots()
    this.#timer = clock.every(limits.rootsPeriodMs, () => this.#readRoots(), { background: true })
    await this.#server.start()
  }

  async stop(): Promise<void> {
    this.#remove?.()
    this.#timer?.cancel()
    await this.#server.stop(0)
  }

  /** Whether Envoy can be given the workload's certificate. */
  get hasCertificate(): boolean {
    return this.#secrets.has(secretNames.workload)
  }

  #take({ identity, chainPem, keyPem, rootsPem, notAfter, serial }: WorkloadCertificate): void {
    if (identity !== this.#options.identity) return
    this.#options.logger.info('has a certificate for Envoy', {
      serial,
      until: new Date(notAfter).toISOString(),
    })
    this.#set(secretNames.workload, {
      mark: serial,
      content: {
        tlsCertificate: {
          certificateChain: { inlineString: chainPem },
          privateKey: { inlineString: keyPem },
        },
      },
    })
    this.#set(secretNames.roots, roots(rootsPem))
  }

  #readRoots(): void {
    const { rootCaPath, logger } = this.#options
    try {
      const pem = readFileSync(rootCaPath, 'utf8')
      if (pem.trim() !== '') this.#set(secretNames.controlPlane, roots(pem))
    } catch (error) {
      if (this.#secrets.has(secretNames.controlPlane)) return
      logger.warn('the roots of the control plane are not there yet', {
        path: rootCaPath,
        error: toError(error).message,
      })
    }
  }

  #set(name: string, secret: Known): void {
    if (this.#secrets.get(name)?.mark === secret.mark) return
    this.#secrets.set(name, secret)
    for (const subscriber of this.#subscribers) this.#send(subscriber)
  }

  #serve(stream: Stream): void {
    const subscriber: Subscriber = { stream, names: new Set(), sent: new Map(), nonce: 0 }
    this.#subscribers.add(subscriber)
    stream.onClose(() => this.#subscribers.delete(subscriber))
    stream.onMessage((request) => {
      const { resourceNames, errorDetail } = request
      if (errorDetail !== undefined) {
        this.#options.logger.error('Envoy refused a secret', {
          names: resourceNames.join(','),
          reason: errorDetail.message,
        })
      }
      if (resourceNames.length > limits.secretNamesMax) {
        const message = `${resourceNames.length} names, ${limits.secretNamesMax} at most`
        stream.fail(new GrpcError(grpcStatus.resourceExhausted, message))
        return
      }
      subscriber.names = new Set(resourceNames)
      this.#send(subscriber)
    })
  }

  /** What the subscriber asked for and has not got; nothing at all while something of it is missing. */
  #send(subscriber: Subscriber): void {
    const { names, sent, stream } = subscriber
    const found = [...names].flatMap((name) => {
      const secret = this.#secrets.get(name)
      return secret === undefined ? [] : [{ name, secret }]
    })
    if (found.length === 0 || found.length < names.size) return
    if (found.every(({ name, secret }) => sent.get(name) === secret.mark)) return
    for (const { name, secret } of found) sent.set(name, secret.mark)
    const nonce = String(++subscriber.nonce)
    const resources = found.map(({ name, secret: { content } }) =>
      anyPack(tlsSecret.SecretSchema, fromJson(tlsSecret.SecretSchema, { name, ...content })),
    )
    const answer = { versionInfo: nonce, nonce, typeUrl: typeUrl.secret, resources }
    void stream.send(create(DiscoveryResponseSchema, answer))
  }
}

function roots(pem: string): Known {
  return { mark: pem, content: { validationContext: { trustedCa: { inlineString: pem } } } }
}
