/** Questions to Envoy's admin port on the loopback. */
import { type IncomingMessage, request } from 'node:http'
import { adminUnanswered } from './errors.ts'
import { limits } from './limits.ts'

export interface AdminAnswer {
  readonly status: number
  readonly body: string
}

export class EnvoyAdmin {
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  /** @throws MeshError L7PROXY_ENVOY_ADMIN when it does not answer */
  async ask(path: string, method: 'GET' | 'POST' = 'GET'): Promise<AdminAnswer> {
    const response = await this.open(path, method)
    let body = ''
    response.setEncoding('utf8')
    try {
      for await (const chunk of response) {
        body += String(chunk)
        if (body.length > limits.adminBytesMax) throw new Error('the answer is too long')
      }
    } catch (error) {
      response.destroy()
      throw adminUnanswered(path, error)
    }
    return { status: response.statusCode ?? 0, body }
  }

  /** The answer as a stream, for pages of any length. */
  open(path: string, method: 'GET' | 'POST' = 'GET'): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port: this.#port,
          path,
          method,
          agent: false,
          timeout: limits.adminTimeoutMs,
        },
        resolve,
      )
      outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')))
      outgoing.on('error', (error) => reject(adminUnanswered(path, error)))
      outgoing.end()
    })
  }
}

/** Why Envoy can't take traffic yet; undefined when it can. */
export async function unreadiness(admin: EnvoyAdmin): Promise<string | undefined> {
  const { status, body } = await admin.ask(`/stats?usedonly&filter=${encodeURIComponent(filter)}`)
  if (status !== 200) return `its admin port answers ${status}`
  const figures = new Map(
    body.split('\n').map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), Number(line.slice(colon + 1))] as const
    }),
  )
  for (const [name, what] of configured) {
    if ((figures.get(`${name}.update_success`) ?? 0) > 0) continue
    const refused = figures.get(`${name}.update_rejected`) ?? 0
    return refused > 0
      ? `it refused its ${what}; its log says why`
      : `it has no ${what} from the control plane yet`
  }
  if ((figures.get('server.state') ?? -1) !== 0) return 'it is not live'
  if ((figures.get('listener_manager.workers_started') ?? 0) !== 1)
    return 'its workers have not started'
  return undefined
}

const configured = [
  ['cluster_manager.cds', 'clusters'],
  ['listener_manager.lds', 'listeners'],
] as const

const filter =
  '^(cluster_manager\\.cds|listener_manager\\.lds)\\.update_(success|rejected)$|' +
  '^server\\.state$|^listener_manager\\.workers_started$'
