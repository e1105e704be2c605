/** Content negotiation: which form of an answer the client accepts, and how bodies are decoded. */
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml'
import { toError } from '../../base/index.ts'
import { badRequest, notAcceptable, unsupportedMediaType } from '../../kube/index.ts'
import { decodeKubernetesProtobuf, kubernetesProtobufType } from '../../schema/index.ts'

/** A view: the object itself when `as` is absent, or a transformation of it. */
export interface Representation {
  readonly format: 'json' | 'yaml'
  readonly as?: string
}

const metaViews = new Set(['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList'])
const mediaTypes = ['application/json', 'application/yaml']

/**
 * Reads the Accept header from left to right and takes the first entry that exists; unknown
 * transformations and formats (protobuf, CBOR) skip their entry. 406 when none is left.
 */
export function negotiate(accept: string | undefined): Representation {
  if (accept === undefined || accept === '') return { format: 'json' }
  for (const entry of accept.split(',')) {
    const [type = '', ...rest] = entry.split(';').map((part) => part.trim())
    const format = formatOf(type.toLowerCase())
    if (format === undefined) continue
    const parameters = new Map(rest.map((part) => splitOnce(part)))
    const as = parameters.get('as')
    if (as === undefined) return { format }
    const [group, version] = [parameters.get('g'), parameters.get('v')]
    if (group === 'meta.k8s.io' && version === 'v1' && metaViews.has(as)) return { format, as }
    if (group === 'apidiscovery.k8s.io' && version === 'v2') return { format, as }
  }
  throw notAcceptable(mediaTypes)
}

function formatOf(type: string): 'json' | 'yaml' | undefined {
  if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json'
  if (type === 'application/yaml' || type === 'text/yaml') return 'yaml'
  return undefined
}

function splitOnce(part: string): [string, string] {
  const index = part.indexOf('=')
  return index < 0 ? [part, ''] : [part.slice(0, index), part.slice(index + 1)]
}

export function encodeBody(
  value: unknown,
  representation: Representation,
): { contentType: string; body: string } {
  return representation.format === 'yaml'
    ? { contentType: 'application/yaml', body: stringifyYaml(value) }
    : { contentType: 'application/json', body: JSON.stringify(value) }
}

/** The media type of a request body, without parameters. */
export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Decodes an object body: JSON, YAML or Kubernetes' protobuf envelope. */
export function decodeBody(bytes: Buffer, contentType: string | undefined): unknown {
  const type = mediaTypeOf(contentType)
  if (type === kubernetesProtobufType) return decodeKubernetesProtobuf(bytes)
  if (type === '' || type === 'application/json') return decodeJson(bytes)
  if (type === 'application/yaml' || type === 'text/yaml') return decodeYaml(bytes)
  throw unsupportedMediaType(mediaTypes)
}

const openingBrace = 0x7b
const notJson = 'the body is not valid JSON'

export function decodeJson(bytes: Buffer): unknown {
  const text = bytes.toString()
  try {
    // Parsing exactly costs several times as much, and is only needed where a long number stands.
    return /\d{16}/.test(text) ? JSON.parse(text, refuseInexact) : JSON.parse(text)
  } catch (error) {
    if (error instanceof Error && error.name === 'ApiError') throw error
    throw badRequest(`${notJson}: ${toError(error).message}`)
  }
}

/** Integers beyond 2^53 would be stored rounded without anybody noticing. */
function refuseInexact(key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const source = context?.source ?? String(value)
    if (!/[.eE]/.test(source)) {
      throw badRequest(
        `the number ${source} of "${key}" is larger than this server can store exactly`,
      )
    }
  }
  return value
}

/** Decodes YAML. Most clients send JSON in its place, which reads thirty times as fast as what it is. */
export function decodeYaml(bytes: Buffer): unknown {
  if (bytes[0] === openingBrace) {
    try {
      return decodeJson(bytes)
    } catch (error) {
      if (error instanceof Error && !error.message.startsWith(notJson)) throw error
    }
  }
  try {
    return parseYaml(bytes.toString())
  } catch (error) {
    throw badRequest(`the body is not valid YAML: ${toError(error).message}`)
  }
}
