/**
 * The client side: calls to one address. Every fresh connection reads the roots anew and every call
 * its headers, so that rotated roots and tokens are used without a restart.
 */
import { isIP } from 'node:net'
import tls from 'node:tls'
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { MeshError, toError } from '../base/index.ts'
import { parseCertificate, servesHost, splitPem } from '../x509/index.ts'
import { ClientStream } from './client-stream.ts'
import { deserializer, type Encodable, type Method, methodPath, serializer } from './codec.ts'
import { readText, type TextSource } from './credentials.ts'
import { GrpcError, type GrpcStatusCode } from './errors.ts'
import { limits } from './limits.ts'

export interface GrpcChannelOptions {
  /** `host:port`; an IPv6 address in brackets. */
  readonly address: string
  /** The name which the server's certificate must have; default the host of the address. */
  readonly serverName?: string
  /** PEM of the accepted authorities; undefined: plaintext. */
  readonly roots?: TextSource
  /** For servers that know clients by certificate. */
  readonly clientCertificate?: () =>
    | { readonly keyPem: string; readonly chainPem: string }
    | undefined
  /** Called for each call; throwing fails the call. */
  readonly headers?: () => Readonly<Record<string, string>>
  /** Default TLSv1.3. */
  readonly minTlsVersion?: 'TLSv1.2' | 'TLSv1.3'
}

export class GrpcChannel {
  readonly #options: GrpcChannelOptions
  #client: Client | undefined
  #clientRoots: string | undefined

  constructor(options: GrpcChannelOptions) {
    this.#options = options
  }

  /** One request, one answer. Rejects with a GrpcError, or a MeshError about the credentials. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageShape<I>,
    timeoutMs: number = limits.unaryTimeoutMs,
  ): Promise<MessageShape<O>> {
    const client = this.#connected()
    const headers = this.#metadata()
    return new Promise((resolve, reject) => {
      const done = (error: ServiceError | null, answer?: MessageShape<O>): void => {
        if (error === null && answer !== undefined) return resolve(answer)
        // After a failure the next call makes its own connection instead of waiting for the
        // library's backoff: callers have theirs.
        if (client === this.#client) this.reset()
        const code = (error?.code ?? 13) as GrpcStatusCode // the library's codes are gRPC's
        reject(new GrpcError(code, error?.details ?? 'no answer'))
      }
      client.makeUnaryRequest(
        methodPath(method),
        serializer(method.input),
        deserializer(method.output),
        request,
        headers,
        { deadline: Date.now() + timeoutMs },
        done,
      )
    })
  }

  /** Opens a stream; throws when credentials can't be read. */
  bidi<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
  ): ClientStream<Encodable<I>, MessageShape<O>> {
    const client = this.#connected()
    const call: ClientDuplexStream<Encodable<I>, MessageShape<O>> = client.makeBidiStreamRequest(
      methodPath(method),
      serializer(method.input),
      deserializer(method.output),
      this.#metadata(),
    )
    return new ClientStream(client, call)
  }

  /** The next call uses a new connection; calls under way go on with theirs. */
  reset(): void {
    this.#client?.close()
    this.#client = undefined
  }

  close(): void {
    this.reset()
  }

  #connected(): Client {
    const { roots } = this.#options
    const rootsPem = roots === undefined ? undefined : readText(roots, 'the root certificate')
    if (this.#client !== undefined && rootsPem === this.#clientRoots) return this.#client
    this.reset()
    this.#clientRoots = rootsPem
    this.#client = new Client(
      this.#options.address,
      rootsPem === undefined ? credentials.createInsecure() : this.#secure(rootsPem),
      this.#channelOptions(),
    )
    return this.#client
  }

  #secure(rootsPem: string): ChannelCredentials {
    const roots = splitPem(rootsPem)
    if (roots.length === 0) {
      throw new MeshError(
        'GRPC_CREDENTIALS',
        'the root certificate file has no certificate in it',
        {
          hint: 'It must be PEM, with one or more CERTIFICATE blocks.',
          retryable: true,
        },
      )
    }
    const own = this.#options.clientCertificate?.()
    const context = tls.createSecureContext({
      ca: roots,
      minVersion: this.#options.minTlsVersion ?? 'TLSv1.3',
      ...(own === undefined ? {} : { key: own.keyPem, cert: own.chainPem }),
    })
    const { serverName = hostOf(this.#options.address) } = this.#options
    return credentials.createFromSecureContext(context, {
      checkServerIdentity: (_host, certificate) => checkName(certificate.raw, serverName),
    })
  }

  #channelOptions(): ChannelOptions {
    const { serverName } = this.#options
    return {
      ...(serverName === undefined || isIP(serverName) !== 0
        ? {}
        : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName }),
      'grpc.max_receive_message_length': limits.clientMessageBytesMax,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': limits.keepaliveTimeMs,
      'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_channelz': 0,
      'grpc-node.flow_control_window': limits.flowWindowBytes,
    }
  }

  #metadata(): Metadata {
    const metadata = new Metadata()
    for (const [name, value] of Object.entries(this.#options.headers?.() ?? {}))
      metadata.set(name, value)
    return metadata
  }
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

/** Returns instead of throwing: an exception here would be uncaught in the TLS code. */
function checkName(certificate: Buffer, serverName: string): Error | undefined {
  try {
    if (servesHost(parseCertificate(certificate), serverName)) return undefined
  } catch (error) {
    return toError(error)
  }
  return new MeshError('GRPC_SERVER_NAME', `the server's certificate is not for ${serverName}`, {
    hint: 'Is the address the one of the control plane?',
  })
}
