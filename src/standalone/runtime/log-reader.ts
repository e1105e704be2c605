/** Reads container logs back: tail, since, timestamps, limit, follow, across rotated files. */
import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { Clock } from '../../base/index.ts'
import type { LogOptions } from '../../registry/index.ts'
import { limits } from './limits.ts'
import { type ContainerLog, logPath } from './logs.ts'

export interface LogSource {
  readonly folder: string
  readonly attempt: number
  /** The writer, when the container still runs; needed to follow. */
  readonly live: ContainerLog | undefined
}

type ReadOptions = Omit<LogOptions, 'container' | 'previous'>

const blockBytes = 64 * 1024

/** The log as people want it: text without the prefix, or with its time. */
export function readLog(source: LogSource, options: ReadOptions, clock: Clock): Readable {
  const abort = new AbortController()
  const stream = Readable.from(
    limited(render(source, options, clock, abort.signal), options.limitBytes),
    {
      objectMode: false,
    },
  )
  stream.once('close', () => abort.abort())
  return stream
}

async function* limited(
  chunks: AsyncIterable<Buffer>,
  limit: number | undefined,
): AsyncIterable<Buffer> {
  let left = limit ?? Number.POSITIVE_INFINITY
  for await (const chunk of chunks) {
    yield chunk.length <= left ? chunk : chunk.subarray(0, left)
    left -= chunk.length
    if (left <= 0) return
  }
}

async function* render(
  source: LogSource,
  options: ReadOptions,
  clock: Clock,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  const since = sinceText(options, clock)
  let middle = false
  for await (const block of rawLines(source, options, signal)) {
    const parts: Buffer[] = []
    let start = 0
    for (let end = block.indexOf(10); end >= 0; end = block.indexOf(10, start)) {
      const line = block.subarray(start, end)
      start = end + 1
      const space = line.indexOf(32)
      const flag = line.indexOf(32, space + 1) + 1
      const part = line[flag] === 0x50
      if (since === undefined || line.subarray(0, space).toString() >= since) {
        if (options.timestamps && !middle) parts.push(line.subarray(0, space + 1))
        parts.push(line.subarray(flag + 2))
        if (!part) parts.push(newline)
      }
      middle = part
    }
    if (parts.length > 0) yield Buffer.concat(parts)
  }
}

const newline = Buffer.from('\n')

function sinceText(options: ReadOptions, clock: Clock): string | undefined {
  const { sinceSeconds, sinceTime } = options
  if (sinceSeconds !== undefined) {
    return new Date(clock.now() - sinceSeconds * 1000).toISOString().replace('Z', '000000Z')
  }
  if (sinceTime === undefined) return undefined
  const ms = Date.parse(sinceTime)
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString().replace('Z', '000000Z')
}

/** Blocks of whole lines, oldest first, from the wanted start to the end (and beyond, when following). */
async function* rawLines(
  source: LogSource,
  options: ReadOptions,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  const { folder, attempt, live } = source
  const { tailLines, follow } = options
  let missing = tailLines ?? Number.POSITIVE_INFINITY
  const starts: { path: string; offset: number }[] = []
  for (let index = 0; index < limits.logFilesMax; index++) {
    const path = logPath(folder, attempt, index)
    if (!existsSync(path) || (missing <= 0 && index > 0)) break
    const found = await tailStart(path, missing)
    missing -= found.lines
    starts.unshift({ path, offset: found.offset })
  }
  const tail = starts.pop()
  for (const { path, offset } of starts) yield* wholeFile(path, offset)
  if (tail === undefined && live === undefined) return
  if (follow && live !== undefined) {
    yield* followFile(live, tail?.offset ?? 0, signal)
  } else if (tail !== undefined) yield* wholeFile(tail.path, tail.offset)
}

/** Where the last `lines` lines of a file start. */
async function tailStart(path: string, lines: number): Promise<{ offset: number; lines: number }> {
  const file = await open(path, 'r')
  try {
    let position = (await file.stat()).size
    if (lines <= 0) return { offset: position, lines: 0 }
    if (!Number.isFinite(lines)) return { offset: 0, lines: 0 }
    let count = 0
    const block = Buffer.alloc(blockBytes)
    while (position > 0) {
      const length = Math.min(blockBytes, position)
      position -= length
      await file.read(block, 0, length, position)
      for (let index = length - 1; index >= 0; index--) {
        if (block[index] !== 10) continue
        // The newline before the first wanted line ends the search.
        if (count === lines) return { offset: position + index + 1, lines }
        count++
      }
    }
    return { offset: 0, lines: count }
  } finally {
    await file.close()
  }
}

async function* wholeFile(path: string, offset: number): AsyncIterable<Buffer> {
  const file = await open(path, 'r')
  try {
    const reader = new BlockReader(file, offset)
    for (let block = await reader.next(); block !== undefined; block = await reader.next())
      yield block
  } finally {
    await file.close()
  }
}

/** Reads on until the container has ended; a file that was turned over is read to its end first. */
async function* followFile(
  live: ContainerLog,
  offset: number,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  let file = await open(live.path, 'r')
  let wake: (() => void) | undefined
  const remove = live.onChange(() => wake?.())
  signal.addEventListener('abort', () => wake?.(), { once: true })
  try {
    let reader = new BlockReader(file, offset)
    while (!signal.aborted) {
      const over = live.closed
      const changed = new Promise<void>((resolve) => (wake = resolve))
      const block = await reader.next()
      if (block !== undefined) {
        yield block
        continue
      }
      const current = await open(live.path, 'r').catch(() => undefined)
      if (current !== undefined && (await current.stat()).ino !== (await file.stat()).ino) {
        await file.close()
        file = current
        reader = new BlockReader(file, 0)
        continue
      }
      await current?.close()
      if (over) return
      await Promise.race([changed, pause()])
    }
  } finally {
    remove()
    await file.close()
  }
}

/** Additions are announced before they are on disk: look again soon. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 250).unref())
}

/** Reads whole lines from a position on. */
class BlockReader {
  readonly #file: FileHandle
  #position: number

  constructor(file: FileHandle, position: number) {
    this.#file = file
    this.#position = position
  }

  async next(): Promise<Buffer | undefined> {
    const block = Buffer.alloc(blockBytes)
    const { bytesRead } = await this.#file.read(block, 0, blockBytes, this.#position)
    const end = block.subarray(0, bytesRead).lastIndexOf(10)
    if (end < 0) return undefined
    this.#position += end + 1
    return block.subarray(0, end + 1)
  }
}
