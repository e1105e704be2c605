/**
 * The node proxy's access log: one line for a finished connection. Own formatting instead of the
 * logger's, because addresses stand without quotes and everything else with them, and tools parse it.
 */
import { type Logger, type LogLevel, sabotaged } from '../base/index.ts'

/** One end of a connection in the access log. */
export interface AccessPeer {
  /** `ip:port`. */
  readonly address: string
  /** The pod's name. */
  readonly workload?: string | undefined
  readonly namespace?: string | undefined
  readonly identity?: string | undefined
  readonly cluster?: string | undefined
}

export interface AccessEntry {
  readonly source: AccessPeer
  readonly destination: AccessPeer
  /** Where the tunnel led, when there was one. */
  readonly hboneAddress?: string | undefined
  /** Hostname. */
  readonly service?: string | undefined
  readonly direction: 'inbound' | 'outbound'
}

/**
 * How a connection ended. Sent and received are those of the pod which the logging side serves: of
 * the client on the outbound side, of the server on the inbound side.
 */
export interface AccessOutcome {
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly durationMs: number
  readonly error?: string | undefined
}

export interface AccessLogOptions {
  /** Decides by its level for the scope `access` what is written. */
  readonly logger: Logger
  readonly write: (line: string) => void
  readonly now: () => number
  readonly format: 'text' | 'json'
}

type Field = readonly [name: string, value: string | number, bare?: boolean]

export class AccessLog {
  readonly #options: AccessLogOptions

  constructor(options: AccessLogOptions) {
    this.#options = options
  }

  opened(entry: AccessEntry): void {
    if (this.#options.logger.enabled('debug')) this.#write('debug', 'connection opened', entry)
  }

  complete(entry: AccessEntry, outcome: AccessOutcome): void {
    const level = outcome.error === undefined ? 'info' : 'error'
    if (!this.#options.logger.enabled(level)) return
    this.#write(level, 'connection complete', entry, outcome)
  }

  /** Trouble before anything was known but the addresses. */
  failed(entry: AccessEntry, error: string): void {
    if (!this.#options.logger.enabled('warn')) return
    this.#write('warn', 'connection failed', entry, undefined, error)
  }

  #write(
    level: LogLevel,
    message: string,
    entry: AccessEntry,
    outcome?: AccessOutcome,
    error = outcome?.error,
  ): void {
    if (sabotaged('access-log')) return
    const { now, format, write } = this.#options
    const time = new Date(now()).toISOString()
    const fields = fieldsOf(entry, outcome, error)
    if (format === 'text') {
      write(`${time}\t${level}\taccess\t${message}\t${fields.map(formatField).join(' ')}\n`)
      return
    }
    const values = Object.fromEntries(fields.map(([name, value]) => [name, value]))
    write(`${JSON.stringify({ level, time, scope: 'access', message, ...values })}\n`)
  }
}

function formatField([name, value, bare]: Field): string {
  return bare === true ? `${name}=${value}` : `${name}=${JSON.stringify(value)}`
}

function fieldsOf(
  entry: AccessEntry,
  outcome: AccessOutcome | undefined,
  error: string | undefined,
): Field[] {
  const fields: Field[] = []
  const add = (name: string, value: string | number | undefined, bare = false): void => {
    if (value !== undefined && value !== '') fields.push([name, value, bare])
  }
  const { source, destination } = entry
  add('src.addr', source.address, true)
  add('src.workload', source.workload)
  add('src.namespace', source.namespace)
  add('src.identity', source.identity)
  add('src.cluster', source.cluster)
  add('dst.addr', destination.address, true)
  add('dst.hbone_addr', entry.hboneAddress, true)
  add('dst.service', entry.service)
  add('dst.workload', destination.workload)
  add('dst.namespace', destination.namespace)
  add('dst.identity', destination.identity)
  add('dst.cluster', destination.cluster)
  add('direction', entry.direction)
  if (outcome !== undefined) {
    add('bytes_sent', outcome.bytesSent)
    add('bytes_recv', outcome.bytesReceived)
    add('duration', `${Math.round(outcome.durationMs)}ms`)
  }
  add('error', error)
  return fields
}
