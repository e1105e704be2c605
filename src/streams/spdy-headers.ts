/** Header blocks: one zlib stream a direction for the whole connection, primed with the fixed dictionary. */
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib'
import { toError } from '../base/index.ts'
import { streamLimits } from './limits.ts'
import { spdyDictionary } from './spdy-dictionary.ts'
import { malformed } from './spdy-frames.ts'

export type SpdyHeaders = Readonly<Record<string, string>>

/** Both directions of one connection. Calls must not overlap, since the order is part of the state. */
export class SpdyHeaderCodec {
  readonly #inflate: Inflate
  readonly #deflate: Deflate

  constructor() {
    const flush = constants.Z_SYNC_FLUSH
    this.#inflate = createInflate({ dictionary: spdyDictionary, flush, finishFlush: flush })
    this.#deflate = createDeflate({ dictionary: spdyDictionary, flush, level: 1 })
  }

  async decode(block: Buffer): Promise<SpdyHeaders> {
    const bytes = await through(this.#inflate, block)
    const headers: Record<string, string> = {}
    let offset = 0
    const take = (): string => {
      if (offset + 4 > bytes.length) throw malformed('a header block that ends too early')
      const length = bytes.readUInt32BE(offset)
      const end = offset + 4 + length
      if (end > bytes.length) throw malformed('a header block that ends too early')
      const text = bytes.toString('utf8', offset + 4, end)
      offset = end
      return text
    }
    if (bytes.length < 4) throw malformed('an empty header block')
    const count = bytes.readUInt32BE(0)
    offset = 4
    for (let index = 0; index < count; index++) {
      const name = take().toLowerCase()
      // Several values of a name are divided by NUL; the first one counts here.
      headers[name] = take().split('\0')[0] ?? ''
    }
    return headers
  }

  async encode(headers: SpdyHeaders): Promise<Buffer> {
    const parts: Buffer[] = []
    const put = (value: number): void => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(value)
      parts.push(bytes)
    }
    const entries = Object.entries(headers)
    put(entries.length)
    for (const entry of entries) {
      for (const text of entry) {
        const bytes = Buffer.from(text)
        put(bytes.length)
        parts.push(bytes)
      }
    }
    return through(this.#deflate, Buffer.concat(parts))
  }

  close(): void {
    this.#inflate.destroy()
    this.#deflate.destroy()
  }
}

/** What a zlib stream makes of one block, flushed. */
function through(stream: Inflate | Deflate, block: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      chunks.push(chunk)
      if (size > streamLimits.spdyHeaderBytesMax)
        finish(malformed('a header block that is too large'))
    }
    const finish = (error?: Error | null): void => {
      stream.off('data', onData)
      stream.off('error', finish)
      if (error === undefined || error === null) resolve(Buffer.concat(chunks))
      else reject(error)
    }
    stream.on('data', onData)
    stream.on('error', finish)
    stream.write(block, (error) =>
      finish(error === null || error === undefined ? undefined : toError(error)),
    )
  })
}
