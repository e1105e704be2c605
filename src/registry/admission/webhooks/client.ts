/** HTTPS calls to one webhook, over connections that are kept. */
import { Agent, type AgentOptions, request } from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { type Clock, MeshError, toError } from '../../../base/index.ts'
import { limits } from '../../limits.ts'
import type { ClientConfig } from './configuration.ts'
import type { WebhookDialer } from './dial.ts'
import { failureText, statusText } from './failures.ts'
import type { ServiceEndpoints } from './services.ts'

export interface WebhookClientOptions {
  readonly config: ClientConfig
  readonly endpoints: ServiceEndpoints
  readonly dial: WebhookDialer
  readonly clock: Clock
}

export class WebhookClient {
  readonly #options: WebhookClientOptions
  readonly #agent: Agent
  readonly #url: URL

  constructor(options: WebhookClientOptions) {
    this.#options = options
    this.#url = urlOf(options.config)
    this.#agent = new DialingAgent((host, port) => this.#dial(host, port), {
      keepAlive: true,
      maxSockets: limits.webhookConnectionsMax,
      timeout: limits.webhookIdleMs,
      ca: options.config.authorities,
    })
  }

  /** Sends a review and returns the answer's body. Rejects with a text in the words of the Kubernetes API. */
  async post(body: string, timeoutSeconds: number): Promise<string> {
    const url = new URL(this.#url)
    url.searchParams.set('timeout', `${timeoutSeconds}s`)
    const abort = new AbortController()
    const timer = this.#options.clock.after(timeoutSeconds * 1000, () => abort.abort())
    try {
      const { code, text } = await this.#send(url, body, abort.signal)
      if (code >= 200 && code < 300) return text
      throw new MeshError('WEBHOOK_STATUS', statusText(code, text))
    } catch (error) {
      if (error instanceof MeshError && error.code === 'WEBHOOK_STATUS') throw error
      const why = abort.signal.aborted ? 'context deadline exceeded' : failureText(error, url)
      throw new MeshError('WEBHOOK_FAILED', `Post "${shownUrl(url)}": ${why}`, { cause: error })
    } finally {
      timer.cancel()
    }
  }

  /** Ends the connections that are not in use, and with `now` all of them. */
  close(now: boolean): void {
    if (now) return this.#agent.destroy()
    for (const sockets of Object.values(this.#agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy()
    }
    // Calls that run end with their own time limit; nothing is kept after them.
    this.#agent.maxFreeSockets = 0
  }

  #dial(host: string, port: number): Promise<Duplex> {
    const { config, endpoints, dial } = this.#options
    const { service } = config
    if (service === undefined) return dial({ host, port, inCluster: false })
    return dial(endpoints.resolve(service))
  }

  #send(
    url: URL,
    body: string,
    signal: AbortSignal,
    isRetry = false,
  ): Promise<{ code: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/json',
        accept: 'application/json, */*',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'kube-apiserver-admission',
      }
      const call = request(url, { method: 'POST', agent: this.#agent, headers, signal })
      call.once('error', (error: NodeJS.ErrnoException) => {
        // The webhook may close a kept connection in the moment in which it is used again.
        const wasStale = call.reusedSocket && error.code === 'ECONNRESET' && !isRetry
        if (wasStale) resolve(this.#send(url, body, signal, true))
        else reject(error)
      })
      call.once('response', (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          chunks.push(chunk)
          if (size <= limits.webhookAnswerBytesMax) return
          response.destroy(
            new Error(`the answer is larger than ${limits.webhookAnswerBytesMax} bytes`),
          )
        })
        response.once('error', reject)
        response.once('end', () =>
          resolve({ code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        )
      })
      call.end(body)
    })
  }
}

/** Connections of HTTPS come from a dialer, so that they can go where plain sockets of this process don't. */
class DialingAgent extends Agent {
  readonly #dial: (host: string, port: number) => Promise<Duplex>
  readonly #authorities: AgentOptions['ca']

  constructor(dial: (host: string, port: number) => Promise<Duplex>, options: AgentOptions) {
    super(options)
    this.#dial = dial
    this.#authorities = options.ca
  }

  override createConnection(
    options: { readonly host?: string; readonly port?: number | string },
    done: (error: Error | null, stream?: Duplex) => void,
  ): undefined {
    const host = (options.host ?? '').replace(/^\[|\]$/g, '')
    const secure = (socket: Duplex): void => {
      const stream = connectTls({
        socket,
        host,
        ...(isIP(host) === 0 ? { servername: host } : {}),
        ...(this.#authorities === undefined ? {} : { ca: this.#authorities }),
        minVersion: 'TLSv1.2',
      })
      stream.once('error', done)
      stream.once('secureConnect', () => {
        stream.off('error', done)
        done(null, stream)
      })
    }
    this.#connect(host, Number(options.port ?? 443)).then(secure, (error: unknown) =>
      done(toError(error)),
    )
  }

  // A reference that can't be resolved throws; as a promise it is one failure like the others.
  async #connect(host: string, port: number): Promise<Duplex> {
    return this.#dial(host, port)
  }
}

/** A Service is called by its name in the cluster's DNS, which its certificate must have. */
function urlOf({ url, service }: ClientConfig): URL {
  if (service === undefined) return new URL(url ?? '')
  const { name, namespace, port, path } = service
  const base = new URL(`https://${name}.${namespace}.svc:${port}/`)
  base.pathname = path
  return base
}

/** As the Kubernetes API shows it: with the port of a Service, also where it is the usual one. */
function shownUrl(url: URL): string {
  const { host, port, pathname, search } = url
  const full = port === '' && host.endsWith('.svc') ? `${host}:443` : host
  return `https://${full}${pathname}${search}`
}
