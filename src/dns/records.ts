/** Resource records: those the mesh makes or looks into as objects, all others as raw bytes. */
import { formatIp, parseIp } from '../base/index.ts'
import { readName, writeName } from './names.ts'
import { type Reader, type Writer, wireError } from './wire.ts'

export const recordTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const

export type RecordData =
  | { readonly kind: 'address'; readonly address: string }
  /** NS, CNAME and PTR. */
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'text'; readonly strings: readonly Uint8Array[] }
  | {
      readonly kind: 'service'
      readonly priority: number
      readonly weight: number
      readonly port: number
      readonly target: string
    }
  | {
      readonly kind: 'authority'
      readonly primary: string
      readonly mailbox: string
      readonly serial: number
      readonly refresh: number
      readonly retry: number
      readonly expire: number
      /** How long a negative answer may be kept. */
      readonly minimum: number
    }
  | { readonly kind: 'raw'; readonly bytes: Uint8Array }

export interface DnsRecord {
  readonly name: string
  readonly type: number
  /** 1 is the Internet. */
  readonly class: number
  readonly ttlSeconds: number
  readonly data: RecordData
}

/** An A or AAAA record, by the form of the address. */
export function addressRecord(name: string, address: string, ttlSeconds: number): DnsRecord {
  const type = address.includes(':') ? recordTypes.AAAA : recordTypes.A
  return { name, type, class: 1, ttlSeconds, data: { kind: 'address', address } }
}

export function readRecord(reader: Reader): DnsRecord {
  const name = readName(reader)
  const type = reader.u16()
  const recordClass = reader.u16()
  const ttlSeconds = reader.u32()
  const length = reader.u16()
  const end = reader.offset + length
  reader.bytesAt(reader.offset, length)
  const data = readData(reader, type, end)
  if (reader.offset !== end) throw wireError('record data of another length than announced')
  return { name, type, class: recordClass, ttlSeconds, data }
}

function readData(reader: Reader, type: number, end: number): RecordData {
  const length = end - reader.offset
  switch (type) {
    case recordTypes.A:
      if (length !== 4) throw wireError('an A record which has not 4 bytes')
      return { kind: 'address', address: formatIp(reader.bytes(4)) }
    case recordTypes.AAAA:
      if (length !== 16) throw wireError('an AAAA record which has not 16 bytes')
      return { kind: 'address', address: formatIp(reader.bytes(16)) }
    case recordTypes.NS:
    case recordTypes.CNAME:
    case recordTypes.PTR:
      return { kind: 'name', name: readName(reader) }
    case recordTypes.SRV:
      return {
        kind: 'service',
        priority: reader.u16(),
        weight: reader.u16(),
        port: reader.u16(),
        target: readName(reader),
      }
    case recordTypes.SOA:
      return {
        kind: 'authority',
        primary: readName(reader),
        mailbox: readName(reader),
        serial: reader.u32(),
        refresh: reader.u32(),
        retry: reader.u32(),
        expire: reader.u32(),
        minimum: reader.u32(),
      }
    case recordTypes.TXT: {
      const strings: Uint8Array[] = []
      while (reader.offset < end) strings.push(reader.bytes(reader.u8()).slice())
      return { kind: 'text', strings }
    }
    default:
      return { kind: 'raw', bytes: reader.bytes(length).slice() }
  }
}

export function writeRecord(writer: Writer, record: DnsRecord, seen: Map<string, number>): void {
  writeName(writer, record.name, seen)
  writer.u16(record.type)
  writer.u16(record.class)
  writer.u32(record.ttlSeconds)
  const lengthAt = writer.length
  writer.u16(0)
  writeData(writer, record, seen)
  writer.patchU16(lengthAt, writer.length - lengthAt - 2)
}

function writeData(writer: Writer, record: DnsRecord, seen: Map<string, number>): void {
  const { data } = record
  switch (data.kind) {
    case 'address': {
      const bytes = parseIp(data.address)
      const wanted = record.type === recordTypes.A ? 4 : 16
      if (bytes?.length !== wanted)
        throw wireError(`"${data.address}" does not fit its record type`)
      writer.bytes(bytes)
      return
    }
    case 'name':
      return writeName(writer, data.name, seen)
    case 'service':
      writer.u16(data.priority)
      writer.u16(data.weight)
      writer.u16(data.port)
      return writeName(writer, data.target)
    case 'authority':
      writeName(writer, data.primary, seen)
      writeName(writer, data.mailbox, seen)
      for (const value of [data.serial, data.refresh, data.retry, data.expire, data.minimum]) {
        writer.u32(value)
      }
      return
    case 'text':
      for (const bytes of data.strings) {
        if (bytes.length > 255) throw wireError('a TXT string over 255 bytes')
        writer.u8(bytes.length)
        writer.bytes(bytes)
      }
      return
    case 'raw':
      writer.bytes(data.bytes)
  }
}
