/**
 * Container output on disk, in the line format of container runtimes:
 * `2026-01-01T00:00:00.000000000Z stdout F text`. `P` marks a part of a line that goes on.
 */
import { createWriteStream, existsSync, openSync, renameSync, type WriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { type Clock, type Logger, toError } from '../../base/index.ts'
import { limits } from './limits.ts'

export type OutputStream = 'stdout' | 'stderr'

export interface LogLimits {
  readonly fileBytesMax: number
  readonly filesMax: number
}

/** `<folder>/<attempt>.log`, and `.1` (newer) to `.4` (older) beside it. */
export function logPath(folder: string, attempt: number, rotated = 0): string {
  return join(folder, rotated === 0 ? `${attempt}.log` : `${attempt}.log.${rotated}`)
}

export interface ContainerLogOptions {
  readonly folder: string
  readonly attempt: number
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: LogLimits
}

/** Writes one container's output; `changed` lets followers wait without polling. */
export class ContainerLog {
  readonly #options: ContainerLogOptions
  readonly #limits: LogLimits
  readonly #listeners = new Set<() => void>()
  readonly #partial: Record<OutputStream, Buffer> = {
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
  }
  #file: WriteStream | undefined
  #bytes = 0
  #failed = false
  /** The last lines, for termination messages. */
  #recent: Buffer[] = []
  #recentBytes = 0
  /** True after `close`: followers end. */
  closed = false

  constructor(options: ContainerLogOptions) {
    this.#options = options
    this.#limits = options.limits ?? {
      fileBytesMax: limits.logFileBytesMax,
      filesMax: limits.logFilesMax,
    }
  }

  get path(): string {
    return logPath(this.#options.folder, this.#options.attempt)
  }

  async open(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 })
    this.#open()
  }

  /** Takes everything that the stream brings; a slow disk slows the container, not our memory. */
  follow(name: OutputStream, source: Readable): void {
    source.on('data', (chunk: Buffer) => {
      this.append(name, chunk)
      const waiting = this.#drained()
      if (waiting === undefined) return
      source.pause()
      void waiting.then(() => source.resume())
    })
  }

  append(name: OutputStream, chunk: Buffer): void {
    const partial = this.#partial[name]
    const data = partial.length === 0 ? chunk : Buffer.concat([partial, chunk])
    let start = 0
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start)) {
      this.#line(name, data.subarray(start, end), true)
      start = end + 1
    }
    let rest = data.subarray(start)
    while (rest.length >= limits.logLineBytesMax) {
      this.#line(name, rest.subarray(0, limits.logLineBytesMax), false)
      rest = rest.subarray(limits.logLineBytesMax)
    }
    this.#partial[name] = Buffer.from(rest)
    this.#notify()
  }

  /** Calls back at every addition and at the end. Returns the remover. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Up to 80 lines or 2 KB from the end. */
  lastText(): string {
    return Buffer.concat(this.#recent.flatMap((line) => [line, newline])).toString()
  }

  #remember(line: Buffer): void {
    this.#recent.push(Buffer.from(line.subarray(-fallbackBytesMax)))
    this.#recentBytes += line.length + 1
    while (
      this.#recent.length > 80 ||
      (this.#recentBytes > fallbackBytesMax && this.#recent.length > 1)
    ) {
      this.#recentBytes -= (this.#recent.shift()?.length ?? 0) + 1
    }
  }

  async close(): Promise<void> {
    for (const name of ['stdout', 'stderr'] as const) {
      const rest = this.#partial[name]
      if (rest.length > 0) this.#line(name, rest, true)
      this.#partial[name] = Buffer.alloc(0)
    }
    const file = this.#file
    this.#file = undefined
    if (file !== undefined) await new Promise<void>((resolve) => file.end(() => resolve()))
    this.closed = true
    this.#notify()
  }

  #line(name: OutputStream, text: Buffer, full: boolean): void {
    if (this.#file === undefined || this.#failed) return
    const time = new Date(this.#options.clock.now()).toISOString().replace('Z', '000000Z')
    const line = Buffer.concat([Buffer.from(`${time} ${name} ${full ? 'F' : 'P'} `), text, newline])
    this.#file.write(line)
    this.#remember(text)
    this.#bytes += line.length
    if (this.#bytes >= this.#limits.fileBytesMax) this.#rotate()
  }

  #open(): void {
    this.#bytes = 0
    this.#file = createWriteStream(this.path, { fd: openSync(this.path, 'a', 0o600) })
    this.#file.on('error', (error) => this.#fail(error))
  }

  /** A full disk must not end the runtime; the container goes on without a log. */
  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = true
    const { logger } = this.#options
    logger.error('a container log can no longer be written', {
      path: this.path,
      error: error.message,
    })
  }

  #drained(): Promise<void> | undefined {
    const file = this.#file
    if (file === undefined || file.writableLength < limits.logBufferBytesMax || this.#failed)
      return undefined
    return new Promise((resolve) => file.once('drain', resolve).once('error', () => resolve()))
  }

  /** Synchronous, so that no line falls between two files; the old descriptor keeps its last writes. */
  #rotate(): void {
    const { folder, attempt } = this.#options
    this.#file?.end()
    try {
      for (let index = this.#limits.filesMax - 2; index >= 0; index--) {
        const path = logPath(folder, attempt, index)
        if (existsSync(path)) renameSync(path, logPath(folder, attempt, index + 1))
      }
      this.#open()
    } catch (error) {
      this.#fail(toError(error))
    }
  }

  #notify(): void {
    for (const listener of this.#listeners) listener()
  }
}

const newline = Buffer.from('\n')
const fallbackBytesMax = 2048
