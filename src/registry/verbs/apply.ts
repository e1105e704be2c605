/** Server-side apply: a PATCH whose body is what the manager wants, in YAML or JSON. */
import {
  type ApiError,
  applyConflict,
  badRequest,
  formatTime,
  invalid,
  isApiError,
  type KubeObject,
} from '../../kube/index.ts'
import { applyServerSide, type RepeatedItem } from '../../patch/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeYaml } from '../http/negotiate.ts'
import { apiVersionOfType } from '../resource-type.ts'
import { isMap, type JsonMap } from '../values.ts'
import { createObject } from './create.ts'
import { asObject, checkUnknownFields, placeObject } from './decode.ts'
import { asJson, trackingScope } from './managers.ts'
import type { Target } from './target.ts'
import { writeUpdate } from './update.ts'
import { type WriteOptions, writeOptions } from './write-options.ts'
import { sendWritten } from './written.ts'

export async function apply(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  part: 'main' | 'status',
): Promise<void> {
  const { type, bucket } = target
  const options = writeOptions(exchange)
  const manager = options.fieldManager
  if (manager === undefined) {
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions', name: '' }, [
      {
        reason: 'FieldValueRequired',
        field: 'fieldManager',
        message: 'Required value: is required for apply patch',
      },
    ])
  }
  const config = await readConfig(context, exchange, target, options)
  const merge = (live: KubeObject | undefined): KubeObject =>
    merged(context, target, { live, config, manager, force: options.force })
  const namespace = type.namespaced ? (target.namespace ?? '') : ''
  const present = bucket.latest(namespace, target.name ?? '')
  if (present === undefined && part === 'main') {
    try {
      const object = merge(undefined)
      const written = await createObject(context, exchange, target, {
        object,
        options,
        manager: undefined,
      })
      return sendWritten(context, exchange, type, { code: 201, written })
    } catch (error) {
      // Somebody else made it meanwhile: then it is an update.
      if (!isApiError(error, 'AlreadyExists')) throw error
    }
  }
  const { dryRun } = options
  const request = { dryRun, part, change: merge }
  const written = await writeUpdate(context, exchange, target, request)
  sendWritten(context, exchange, type, { code: 200, written })
}

async function readConfig(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  options: WriteOptions,
): Promise<JsonMap> {
  const { type } = target
  const body = decodeYaml(await exchange.body())
  if (!isMap(body) || body.kind === undefined || body.apiVersion === undefined) {
    throw badRequest('an apply patch must be an object with apiVersion and kind')
  }
  const object = asObject(body, type)
  checkUnknownFields(exchange, context.schemas, { type, object, how: options.fieldValidation })
  placeObject(object, target)
  return asJson(object)
}

interface Merge {
  readonly live: KubeObject | undefined
  readonly config: JsonMap
  readonly manager: string
  readonly force: boolean
}

function merged(context: VerbContext, target: Target, request: Merge): KubeObject {
  const { type } = target
  const { live, config, manager, force } = request
  const schema = context.schemas.get(type)?.node
  const { object, conflicts, repeated } = applyServerSide({
    ...trackingScope(target),
    live: live === undefined ? undefined : asJson(live),
    config,
    manager,
    force,
    schema,
    time: formatTime(context.clock.now()),
  })
  if (repeated.length > 0) throw ambiguous(target, repeated)
  if (conflicts.length > 0) throw applyConflict(conflicts)
  return asObject(object, type)
}

/** A list that has two items of one key can't be applied: nobody could say which of them is meant. */
function ambiguous(target: Target, repeated: readonly RepeatedItem[]): ApiError {
  const { type, namespace, name = '' } = target
  const place = namespace === undefined ? `/${name}` : `${namespace}/${name}`
  const kind = `${apiVersionOfType(type)}, Kind=${type.kind}`
  const lines = repeated.map(({ path, key }) => `  ${path}: duplicate entries for key ${key}`)
  return badRequest(
    `failed to create typed patch object (${place}; ${kind}): errors:\n${lines.join('\n')}`,
  )
}
