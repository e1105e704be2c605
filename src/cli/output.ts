/**
 * What commands print: tables in kubectl's form, JSON and YAML, progress with elapsed times, and errors with the
 * next step. Results go to standard output, everything else to standard error.
 */
import { stringify } from 'yaml'
import { MeshError, toError } from '../base/index.ts'

export type OutputFormat = 'table' | 'json' | 'yaml'

export interface Terminal {
  readonly out: (text: string | Uint8Array) => void
  readonly err: (text: string) => void
  /** Whether standard error is a terminal, so that a progress line may rewrite itself. */
  readonly interactive: boolean
  readonly monotonic: () => number
  /** Width of the terminal behind standard error. */
  readonly columns?: () => number
}

/** Columns padded to their widest cell, three blanks between, none at the line's end. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [header, ...rows]
  const widths = header.map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? '').length)),
  )
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

export function formatStructured(value: unknown, format: 'json' | 'yaml'): string {
  return format === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : stringify(value)
}

/** `90s`, `5m`, `3h20m`, `4d`: ages as kubectl prints them. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  return days < 8 && hours % 24 !== 0 ? `${days}d${hours % 24}h` : `${days}d`
}

/** Notes are at least this far apart when they can't be rewritten. */
const notePeriodMs = 4_000

/** One line a step; on a terminal the running step shows its growing time. */
export class ProgressPrinter {
  readonly #terminal: Terminal
  readonly #startedMs: number
  #running: { text: string; sinceMs: number; note?: string } | undefined
  #noted = { text: '', atMs: Number.NEGATIVE_INFINITY }
  #timer: NodeJS.Timeout | undefined

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#startedMs = terminal.monotonic()
  }

  begin(text: string): void {
    this.#running = { text, sinceMs: this.#terminal.monotonic() }
    if (!this.#terminal.interactive) return
    this.#draw()
    this.#timer ??= setInterval(() => this.#draw(), 200)
    this.#timer.unref()
  }

  done(text: string): void {
    const sinceMs = this.#running?.sinceMs ?? this.#terminal.monotonic()
    this.#clear()
    this.#terminal.err(`  ok    ${text} ${seconds(this.#terminal.monotonic() - sinceMs)}\n`)
    this.#running = undefined
  }

  /** What the running step waits for. Without a terminal: only what is new, and not too often. */
  note(text: string): void {
    if (this.#terminal.interactive) {
      if (this.#running === undefined) return this.#terminal.err(`        ${text}\n`)
      this.#running = { ...this.#running, note: text }
      return this.#draw()
    }
    const now = this.#terminal.monotonic()
    if (text === this.#noted.text || now - this.#noted.atMs < notePeriodMs) return
    this.#noted = { text, atMs: now }
    this.#terminal.err(`        ${text}\n`)
  }

  fail(text: string): void {
    this.#clear()
    this.#terminal.err(`  FAIL  ${text}\n`)
    this.#running = undefined
  }

  /** Ends the running line without a verdict; the total in milliseconds. */
  end(): number {
    this.#clear()
    clearInterval(this.#timer)
    return this.#terminal.monotonic() - this.#startedMs
  }

  #draw(): void {
    if (this.#running === undefined) return
    const { text, sinceMs, note } = this.#running
    const elapsed = seconds(this.#terminal.monotonic() - sinceMs)
    const line = `  ...   ${text} ${elapsed}${note === undefined ? '' : ` ${note}`}`
    // A line that wraps could not be rewritten.
    this.#terminal.err(`\r\x1b[2K${line.slice(0, this.#width() - 1)}`)
  }

  /** Some terminals say that they are 0 wide. */
  #width(): number {
    return Math.max(this.#terminal.columns?.() ?? 0, 40)
  }

  #clear(): void {
    if (this.#terminal.interactive && this.#running !== undefined) this.#terminal.err('\r\x1b[2K')
  }
}

export function seconds(ms: number): string {
  return `(${(ms / 1000).toFixed(1)} s)`
}

/** The sentence, then the hint on a line of its own. */
export function formatError(thrown: unknown): string {
  const error = toError(thrown)
  const hint = error instanceof MeshError && error.hint !== undefined ? `\n${error.hint}` : ''
  return `weft: ${error.message}${hint}\n`
}
