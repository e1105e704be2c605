/**
 * Responses as bytes. Resources come encoded; here they get their envelopes, once for all who receive
 * the same, and a connection adds only its nonce: repeated fields of protobuf may be concatenated.
 */
import type { EncodedResource } from './contract.ts'

/** The part of a DeltaDiscoveryResponse that connections share. */
export interface Body {
  readonly bytes: Buffer
  readonly resources: number
  readonly removed: number
}

// Field tags (number << 3 | 2, length-delimited) of envoy.service.discovery.v3.
const response = {
  version: 0x0a,
  resources: 0x12,
  typeUrl: 0x22,
  nonce: 0x2a,
  removed: 0x32,
} as const
const resourceTag = { version: 0x0a, any: 0x12, name: 0x1a, alias: 0x22 } as const
const anyTag = { typeUrl: 0x0a, value: 0x12 } as const

export function encodeBody(
  resources: readonly EncodedResource[],
  removed: readonly string[],
  withAliases: boolean,
): Body {
  const sizes = resources.map((resource) => measure(resource, withAliases))
  let total = 0
  for (const size of sizes) total += fieldSize(size.resource)
  for (const name of removed) total += fieldSize(Buffer.byteLength(name))
  const writer = new Writer(total)
  for (const [index, resource] of resources.entries()) {
    const size = sizes[index]
    if (size !== undefined) writeResource(writer, resource, size, withAliases)
  }
  for (const name of removed) writer.text(response.removed, name)
  return { bytes: writer.bytes, resources: resources.length, removed: removed.length }
}

/** A whole DeltaDiscoveryResponse around a shared body. */
export function encodeResponse(
  body: Body,
  head: { typeUrl: string; version: string; nonce: string },
): Buffer {
  const { typeUrl, version, nonce } = head
  const length = [typeUrl, version, nonce].reduce(
    (sum, text) => sum + fieldSize(Buffer.byteLength(text)),
    0,
  )
  const writer = new Writer(length + body.bytes.length)
  writer.text(response.version, version)
  writer.text(response.typeUrl, typeUrl)
  writer.text(response.nonce, nonce)
  writer.raw(body.bytes)
  return writer.bytes
}

interface Sizes {
  readonly resource: number
  readonly any: number
}

function measure(resource: EncodedResource, withAliases: boolean): Sizes {
  const any = fieldSize(Buffer.byteLength(resource.typeUrl)) + fieldSize(resource.bytes.length)
  let total = fieldSize(any) + fieldSize(Buffer.byteLength(resource.name))
  if (resource.version !== '') total += fieldSize(Buffer.byteLength(resource.version))
  if (withAliases)
    for (const alias of resource.aliases ?? []) total += fieldSize(Buffer.byteLength(alias))
  return { resource: total, any }
}

function writeResource(
  writer: Writer,
  resource: EncodedResource,
  size: Sizes,
  withAliases: boolean,
): void {
  writer.head(response.resources, size.resource)
  if (resource.version !== '') writer.text(resourceTag.version, resource.version)
  writer.head(resourceTag.any, size.any)
  writer.text(anyTag.typeUrl, resource.typeUrl)
  writer.head(anyTag.value, resource.bytes.length)
  writer.raw(resource.bytes)
  writer.text(resourceTag.name, resource.name)
  if (withAliases) for (const alias of resource.aliases ?? []) writer.text(resourceTag.alias, alias)
}

/** Of a length-delimited field with a tag of one byte. */
function fieldSize(length: number): number {
  return 1 + varintSize(length) + length
}

function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) size++
  return size
}

class Writer {
  readonly bytes: Buffer
  #at = 0

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size)
  }

  head(tag: number, length: number): void {
    this.bytes[this.#at++] = tag
    let rest = length
    while (rest >= 0x80) {
      this.bytes[this.#at++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.#at++] = rest
  }

  text(tag: number, text: string): void {
    this.head(tag, Buffer.byteLength(text))
    this.#at += this.bytes.write(text, this.#at, 'utf8')
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }
}
