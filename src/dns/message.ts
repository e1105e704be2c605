/** DNS messages (RFC 1035, EDNS of RFC 6891) as objects, and their form on the wire. */
import { MeshError } from '../base/index.ts'
import { limits } from './limits.ts'
import { readName, writeName } from './names.ts'
import { type DnsRecord, readRecord, writeRecord } from './records.ts'
import { Reader, Writer, wireError } from './wire.ts'

export const responseCodes = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const

export interface Question {
  readonly name: string
  /** See `recordTypes`; others are kept as numbers. */
  readonly type: number
  readonly class: number
}

export interface Message {
  readonly id: number
  readonly response: boolean
  /** 0: query. */
  readonly opcode: number
  readonly authoritative: boolean
  readonly truncated: boolean
  readonly recursionDesired: boolean
  readonly recursionAvailable: boolean
  readonly responseCode: number
  readonly questions: readonly Question[]
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  /** Without the OPT record, which is `edns`. */
  readonly additionals: readonly DnsRecord[]
  readonly edns: Edns | undefined
}

export interface Edns {
  readonly udpBytes: number
  readonly version: number
  /** The DO bit. */
  readonly dnssecOk: boolean
  /** Options as they are on the wire. */
  readonly options: Uint8Array
}

const optType = 41

/** Reads one message. Throws a MeshError DNS_FORMAT when it is malformed; bytes after it are ignored. */
export function decodeMessage(data: Uint8Array): Message {
  const reader = new Reader(data)
  const id = reader.u16()
  const flags = reader.u16()
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const
  const questions: Question[] = []
  for (let index = 0; index < counts[0]; index++) {
    questions.push({ name: readName(reader), type: reader.u16(), class: reader.u16() })
  }
  let edns: Edns | undefined
  let extendedCode = 0
  const section = (count: number): DnsRecord[] => {
    const records: DnsRecord[] = []
    for (let index = 0; index < count; index++) {
      const record = readRecord(reader)
      if (record.type !== optType) records.push(record)
      else if (edns !== undefined) throw wireError('two OPT records')
      else {
        extendedCode = (record.ttlSeconds / 0x1000000) & 0xff
        edns = {
          udpBytes: record.class,
          version: (record.ttlSeconds >> 16) & 0xff,
          dnssecOk: (record.ttlSeconds & 0x8000) !== 0,
          options: record.data.kind === 'raw' ? record.data.bytes : new Uint8Array(),
        }
      }
    }
    return records
  }
  const answers = section(counts[1])
  const authorities = section(counts[2])
  const additionals = section(counts[3])
  return {
    id,
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 0xf,
    authoritative: (flags & 0x400) !== 0,
    truncated: (flags & 0x200) !== 0,
    recursionDesired: (flags & 0x100) !== 0,
    recursionAvailable: (flags & 0x80) !== 0,
    responseCode: (flags & 0xf) | (extendedCode << 4),
    questions,
    answers,
    authorities,
    additionals,
    edns,
  }
}

/**
 * The wire form of a message.
 * @param maxBytes when it would be longer, whole records are left out and TC is set
 */
export function encodeMessage(
  message: Message,
  maxBytes: number = limits.messageBytes,
): Uint8Array {
  const whole = tryEncode(message, message.answers, false)
  if (whole !== undefined && whole.length <= maxBytes) return whole
  let low = 0
  let high = message.answers.length
  let best = encodeWith(message, [], true)
  while (low < high) {
    const middle = (low + high + 1) >> 1
    const attempt = tryEncode(message, message.answers.slice(0, middle), true)
    if (attempt !== undefined && attempt.length <= maxBytes) {
      best = attempt
      low = middle
    } else high = middle - 1
  }
  return best
}

/** Undefined when the message is over 64 KiB. */
function tryEncode(
  message: Message,
  answers: readonly DnsRecord[],
  cut: boolean,
): Uint8Array | undefined {
  try {
    return encodeWith(message, answers, cut)
  } catch (error) {
    if (error instanceof MeshError && error.code === 'DNS_TOO_LONG') return undefined
    throw error
  }
}

function encodeWith(message: Message, answers: readonly DnsRecord[], cut: boolean): Uint8Array {
  const writer = new Writer()
  const seen = new Map<string, number>()
  // What is cut starts with the additional data: a client repeats the question over TCP.
  const authorities = cut ? [] : message.authorities
  const additionals = cut ? [] : message.additionals
  writer.u16(message.id)
  writer.u16(flagsOf(message, cut))
  writer.u16(message.questions.length)
  writer.u16(answers.length)
  writer.u16(authorities.length)
  writer.u16(additionals.length + (message.edns === undefined ? 0 : 1))
  for (const question of message.questions) {
    writeName(writer, question.name, seen)
    writer.u16(question.type)
    writer.u16(question.class)
  }
  for (const record of [...answers, ...authorities, ...additionals])
    writeRecord(writer, record, seen)
  if (message.edns !== undefined) writeEdns(writer, message.edns, message.responseCode)
  return writer.finish()
}

function flagsOf(message: Message, cut: boolean): number {
  return (
    (message.response ? 0x8000 : 0) |
    ((message.opcode & 0xf) << 11) |
    (message.authoritative ? 0x400 : 0) |
    (message.truncated || cut ? 0x200 : 0) |
    (message.recursionDesired ? 0x100 : 0) |
    (message.recursionAvailable ? 0x80 : 0) |
    (message.responseCode & 0xf)
  )
}

function writeEdns(writer: Writer, edns: Edns, responseCode: number): void {
  writer.u8(0)
  writer.u16(optType)
  writer.u16(edns.udpBytes)
  writer.u8((responseCode >> 4) & 0xff)
  writer.u8(edns.version)
  writer.u16(edns.dnssecOk ? 0x8000 : 0)
  writer.u16(edns.options.length)
  writer.bytes(edns.options)
}

/** A query for one name. */
export function queryMessage(id: number, name: string, type: number): Message {
  return {
    id,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    responseCode: 0,
    questions: [{ name, type, class: 1 }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: undefined,
  }
}

/** The answer to `query`; EDNS is answered with EDNS. */
export function answerMessage(query: Message, parts: Partial<Message>): Message {
  return {
    ...queryMessage(query.id, '', 1),
    response: true,
    opcode: query.opcode,
    recursionDesired: query.recursionDesired,
    recursionAvailable: true,
    questions: query.questions,
    edns:
      query.edns === undefined
        ? undefined
        : { udpBytes: limits.ednsUdpBytes, version: 0, dnssecOk: false, options: new Uint8Array() },
    ...parts,
  }
}

/** How long a UDP answer to this query may be. */
export function udpLimitOf(query: Message): number {
  const asked = query.edns?.udpBytes ?? limits.udpBytes
  return Math.min(Math.max(asked, limits.udpBytes), limits.ednsUdpBytes)
}
