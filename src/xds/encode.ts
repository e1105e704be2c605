/**
 * Responses as bytes. Resources come encoded; here they get their envelopes, once for all who receive
 * the same, and a connection adds only its nonce: repeated fields of protobuf may be concatenated.
 */
import { typeUrl as urls } from '../proto/index.ts'
import { endpointNameOf } from './cluster-fields.ts'
import type { EncodedResource } from './contract.ts'

/** The part of a response that connections share. */
export interface Body {
  readonly bytes: Buffer
  readonly resources: number
  readonly removed: number
  /** Clusters only: the endpoint resources that Envoy needs again before it uses these clusters. */
  readonly endpoints: readonly string[]
}

/** The part of a response that belongs to one connection. */
export interface Head {
  readonly typeUrl: string
  readonly version: string
  readonly nonce: string
  /** Who answers; said once on a stream. */
  readonly controlPlane?: string | undefined
}

// Field tags (number << 3 | 2, length-delimited) of envoy.service.discovery.v3.
const response = {
  version: 0x0a,
  resources: 0x12,
  typeUrl: 0x22,
  nonce: 0x2a,
  removed: 0x32,
} as const
/** `control_plane` is field 7 of DeltaDiscoveryResponse and 6 of DiscoveryResponse. */
const controlPlaneTag = { delta: 0x3a, state: 0x32 } as const
const identifierTag = 0x0a
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
  return {
    bytes: writer.bytes,
    resources: resources.length,
    removed: removed.length,
    endpoints: endpointNames(resources),
  }
}

/** The body of a state-of-the-world response: the bare messages, without names and versions. */
export function encodeState(resources: readonly EncodedResource[]): Body {
  const sizes = resources.map(anySize)
  const writer = new Writer(sizes.reduce((sum, size) => sum + fieldSize(size), 0))
  for (const [index, resource] of resources.entries()) {
    writer.head(response.resources, sizes[index] ?? 0)
    writeAny(writer, resource)
  }
  return { bytes: writer.bytes, resources: resources.length, removed: 0, endpoints: [] }
}

/** What comes before the shared body in a whole DeltaDiscoveryResponse or DiscoveryResponse. */
export function encodeHead(head: Head, protocol: keyof typeof controlPlaneTag): Buffer {
  const { typeUrl, version, nonce, controlPlane } = head
  let length = 0
  for (const text of [typeUrl, version, nonce]) length += fieldSize(Buffer.byteLength(text))
  const identifier = controlPlane === undefined ? 0 : fieldSize(Buffer.byteLength(controlPlane))
  const writer = new Writer(length + (controlPlane === undefined ? 0 : fieldSize(identifier)))
  writer.text(response.version, version)
  writer.text(response.typeUrl, typeUrl)
  writer.text(response.nonce, nonce)
  if (controlPlane !== undefined) {
    writer.head(controlPlaneTag[protocol], identifier)
    writer.text(identifierTag, controlPlane)
  }
  return writer.bytes
}

function endpointNames(resources: readonly EncodedResource[]): string[] {
  if (resources[0]?.typeUrl !== urls.cluster) return []
  return resources.flatMap(({ bytes }) => endpointNameOf(bytes) ?? [])
}

/**
 * A message with nothing but its name. In state-of-the-world this is how one says that there are no such
 * endpoints or routes: left out, Envoy would keep what depends on them waiting.
 */
export function emptyNamed(typeUrl: string, name: string): EncodedResource {
  const writer = new Writer(fieldSize(Buffer.byteLength(name)))
  // `cluster_name` of ClusterLoadAssignment and `name` of RouteConfiguration: field 1 both.
  writer.text(identifierTag, name)
  return { name, typeUrl, version: 'none', bytes: writer.bytes }
}

interface Sizes {
  readonly resource: number
  readonly any: number
}

function anySize(resource: EncodedResource): number {
  return fieldSize(Buffer.byteLength(resource.typeUrl)) + fieldSize(resource.bytes.length)
}

function measure(resource: EncodedResource, withAliases: boolean): Sizes {
  const any = anySize(resource)
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
  writeAny(writer, resource)
  writer.text(resourceTag.name, resource.name)
  if (withAliases) for (const alias of resource.aliases ?? []) writer.text(resourceTag.alias, alias)
}

function writeAny(writer: Writer, resource: EncodedResource): void {
  writer.text(anyTag.typeUrl, resource.typeUrl)
  writer.head(anyTag.value, resource.bytes.length)
  writer.raw(resource.bytes)
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
