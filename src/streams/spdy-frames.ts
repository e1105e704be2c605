/** SPDY/3.1 frames as values: cutting a byte stream into frames, and building those that we send. */
import { MeshError } from '../base/index.ts'
import { streamLimits } from './limits.ts'

const version = 3

const types = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
}

const finFlag = 0x01

export type SpdyFrame =
  | {
      readonly kind: 'data'
      readonly streamId: number
      readonly fin: boolean
      readonly data: Buffer
    }
  | {
      readonly kind: 'synStream'
      readonly streamId: number
      readonly fin: boolean
      readonly block: Buffer
    }
  | {
      readonly kind: 'synReply'
      readonly streamId: number
      readonly fin: boolean
      readonly block: Buffer
    }
  | {
      readonly kind: 'headers'
      readonly streamId: number
      readonly fin: boolean
      readonly block: Buffer
    }
  | { readonly kind: 'rstStream'; readonly streamId: number; readonly code: number }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'goAway'; readonly lastStreamId: number }
  | { readonly kind: 'other'; readonly type: number }

/** Cuts bytes into frames, however they were split on the way. */
export class SpdyFrameReader {
  #rest: Buffer = Buffer.alloc(0)

  /** The frames that are complete now. Throws a MeshError when the bytes are no SPDY/3.1. */
  push(chunk: Buffer): SpdyFrame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const frames: SpdyFrame[] = []
    let offset = 0
    while (this.#rest.length - offset >= 8) {
      const length = this.#rest.readUIntBE(offset + 5, 3)
      if (length > streamLimits.spdyFrameBytesMax) throw malformed(`a frame of ${length} bytes`)
      if (this.#rest.length - offset < 8 + length) break
      frames.push(decode(this.#rest.subarray(offset, offset + 8 + length)))
      offset += 8 + length
    }
    this.#rest = this.#rest.subarray(offset)
    return frames
  }
}

function decode(frame: Buffer): SpdyFrame {
  const first = frame.readUInt32BE(0)
  const flags = frame.readUInt8(4)
  const fin = (flags & finFlag) !== 0
  const body = frame.subarray(8)
  if (first < 0x80000000) return { kind: 'data', streamId: first, fin, data: body }
  if (((first >>> 16) & 0x7fff) !== version) throw malformed('a version other than 3')
  const type = first & 0xffff
  const need = (bytes: number): void => {
    if (body.length < bytes) throw malformed(`a frame of type ${type} with ${body.length} bytes`)
  }
  switch (type) {
    case types.synStream:
      need(10)
      return { kind: 'synStream', streamId: id(body), fin, block: body.subarray(10) }
    case types.synReply:
      need(4)
      return { kind: 'synReply', streamId: id(body), fin, block: body.subarray(4) }
    case types.headers:
      need(4)
      return { kind: 'headers', streamId: id(body), fin, block: body.subarray(4) }
    case types.rstStream:
      need(8)
      return { kind: 'rstStream', streamId: id(body), code: body.readUInt32BE(4) }
    case types.ping:
      need(4)
      return { kind: 'ping', id: body.readUInt32BE(0) }
    case types.goAway:
      need(4)
      return { kind: 'goAway', lastStreamId: id(body) }
    default:
      return { kind: 'other', type }
  }
}

function id(body: Buffer): number {
  return body.readUInt32BE(0) & 0x7fffffff
}

/** The bytes of a frame; header blocks are compressed already. */
export function encodeSpdyFrame(frame: SpdyFrame): Buffer {
  switch (frame.kind) {
    case 'data': {
      const head = Buffer.alloc(8)
      head.writeUInt32BE(frame.streamId, 0)
      head.writeUInt32BE(frame.data.length, 4)
      head.writeUInt8(frame.fin ? finFlag : 0, 4)
      return Buffer.concat([head, frame.data])
    }
    case 'synStream':
      return control(types.synStream, frame.fin, [
        word(frame.streamId),
        word(0),
        Buffer.alloc(2),
        frame.block,
      ])
    case 'synReply':
      return control(types.synReply, frame.fin, [word(frame.streamId), frame.block])
    case 'headers':
      return control(types.headers, frame.fin, [word(frame.streamId), frame.block])
    case 'rstStream':
      return control(types.rstStream, false, [word(frame.streamId), word(frame.code)])
    case 'ping':
      return control(types.ping, false, [word(frame.id)])
    case 'goAway':
      return control(types.goAway, false, [word(frame.lastStreamId), word(0)])
    case 'other':
      throw new RangeError(`frames of type ${frame.type} are never sent`)
  }
}

function control(type: number, fin: boolean, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(8)
  head.writeUInt16BE(0x8000 | version, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt32BE(body.length, 4)
  head.writeUInt8(fin ? finFlag : 0, 4)
  return Buffer.concat([head, body])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function malformed(what: string): MeshError {
  return new MeshError('STREAMS_SPDY_MALFORMED', `the peer sent ${what}, which is no SPDY/3.1`, {
    hint: 'Use kubectl 1.31 or newer.',
  })
}
