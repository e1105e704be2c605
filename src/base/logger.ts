/**
 * Logging in the shape Istio's tools print: `time<TAB>level<TAB>scope<TAB>message<TAB>key=value`, or JSON.
 * Own code because the access log's text form is a contract (reference: ambient telemetry) and
 * because a level that is off must cost one comparison: nothing is formatted for it.
 */

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace'
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

export const logLevels: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'trace']

export interface Logger {
  readonly scope: string
  enabled(level: LogLevel): boolean
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  trace(message: string, fields?: LogFields): void
  /** A logger of another scope with the same sink; its level can be set apart. */
  child(scope: string): Logger
}

export interface LoggerOptions {
  readonly write: (line: string) => void
  readonly now: () => number
  readonly format?: 'text' | 'json'
  readonly level?: LogLevel
}

/** Levels by scope, changeable while running (admin `POST /logging`). */
export class LogControl {
  #defaultRank: number
  readonly #ranks = new Map<string, number>()

  constructor(level: LogLevel) {
    this.#defaultRank = logLevels.indexOf(level)
  }

  /** @param scope undefined sets every scope */
  setLevel(level: LogLevel, scope?: string): void {
    if (scope === undefined) {
      this.#ranks.clear()
      this.#defaultRank = logLevels.indexOf(level)
    } else this.#ranks.set(scope, logLevels.indexOf(level))
  }

  rank(scope: string): number {
    return this.#ranks.get(scope) ?? this.#defaultRank
  }
}

export function createLogger(
  scope: string,
  options: LoggerOptions,
  control: LogControl = new LogControl(options.level ?? 'info'),
): Logger {
  const emit = (level: LogLevel, message: string, fields?: LogFields): void => {
    if (logLevels.indexOf(level) > control.rank(scope)) return
    const time = new Date(options.now()).toISOString()
    options.write(
      options.format === 'json'
        ? `${JSON.stringify({ level, time, scope, message, ...fields })}\n`
        : `${time}\t${level}\t${scope}\t${message}${formatFields(fields)}\n`,
    )
  }
  return {
    scope,
    enabled: (level) => logLevels.indexOf(level) <= control.rank(scope),
    error: (message, fields) => emit('error', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    info: (message, fields) => emit('info', message, fields),
    debug: (message, fields) => emit('debug', message, fields),
    trace: (message, fields) => emit('trace', message, fields),
    child: (childScope) => createLogger(childScope, options, control),
  }
}

function formatFields(fields: LogFields | undefined): string {
  if (fields === undefined) return ''
  let text = ''
  for (const key in fields) {
    const value = fields[key]
    if (value === undefined) continue
    text += `${text === '' ? '\t' : ' '}${key}=${typeof value === 'string' ? JSON.stringify(value) : value}`
  }
  return text
}

/** Drops everything; for tests and for callers that don't care. */
export const silentLogger: Logger = {
  scope: '',
  enabled: () => false,
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  trace: () => {},
  child: () => silentLogger,
}
