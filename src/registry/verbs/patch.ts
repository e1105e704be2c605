/** PATCH in its formats, on objects and on their status. */
import { type KubeObject, methodNotAllowed, unsupportedMediaType } from '../../kube/index.ts'
import { jsonPatch, mergePatch, strategicMergePatch } from '../../patch/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeJson, mediaTypeOf } from '../http/negotiate.ts'
import type { ResourceType } from '../resource-type.ts'
import { apply } from './apply.ts'
import { asObject, checkUnknownFields } from './decode.ts'
import type { Target } from './target.ts'
import { writeUpdate } from './update.ts'
import { managerOf, writeOptions } from './write-options.ts'
import { sendWritten } from './written.ts'

const jsonType = 'application/json-patch+json'
const mergeType = 'application/merge-patch+json'
const strategicType = 'application/strategic-merge-patch+json'
const applyType = 'application/apply-patch+yaml'

/** Reads a patch; the returned function applies it to a value of the given kind. */
export async function readPatch(
  context: VerbContext,
  exchange: Exchange,
  type: ResourceType,
): Promise<(current: unknown) => unknown> {
  const mediaType = mediaTypeOf(exchange.header('content-type'))
  const bytes = await exchange.body()
  const schema = context.schemas.get(type)
  const strategic = type.custom === undefined && schema !== undefined
  if (mediaType === jsonType) {
    const operations = decodeJson(bytes)
    return (current) => jsonPatch(current, operations)
  }
  if (mediaType === mergeType) {
    const patch = decodeJson(bytes)
    return (current) => mergePatch(current, patch)
  }
  if (mediaType === strategicType && strategic) {
    const patch = decodeJson(bytes)
    return (current) => strategicMergePatch(current, patch, schema.node)
  }
  throw unsupportedMediaType([
    jsonType,
    mergeType,
    applyType,
    ...(strategic ? [strategicType] : []),
  ])
}

/** PATCH on an object or its status. */
export async function patch(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  part: 'main' | 'status',
): Promise<void> {
  const { type } = target
  if (target.name === undefined || !type.verbs.includes('patch')) throw methodNotAllowed()
  if (mediaTypeOf(exchange.header('content-type')) === applyType) {
    return apply(context, exchange, target, part)
  }
  const options = writeOptions(exchange)
  const patched = await readPatch(context, exchange, type)
  const change = (current: KubeObject): KubeObject => {
    const object = asObject(patched(current), type)
    checkUnknownFields(exchange, context.schemas, { type, object, how: options.fieldValidation })
    return object
  }
  const { dryRun } = options
  const manager = managerOf(exchange, options)
  const request = { dryRun, part, change, manager }
  const written = await writeUpdate(context, exchange, target, request)
  sendWritten(context, exchange, type, { code: 200, written })
}
