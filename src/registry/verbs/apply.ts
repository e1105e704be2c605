/** Server-side apply: a PATCH whose body is what the manager wants, in YAML or JSON. */
import {
  applyConflict,
  badRequest,
  formatTime,
  invalid,
  isApiError,
  type KubeObject,
  type ManagerConflict,
} from '../../kube/index.ts'
import { applyServerSide } from '../../patch/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeYaml } from '../http/negotiate.ts'
import { apiVersionOfType } from '../resource-type.ts'
import { isMap, type JsonMap } from '../values.ts'
import { createObject } from './create.ts'
import { asObject, checkUnknownFields, placeObject } from './decode.ts'
import { asJson, ignoredPaths } from './managers.ts'
import type { Target } from './target.ts'
import { updateObject } from './update.ts'
import { View } from './view.ts'
import { type WriteOptions, writeOptions } from './write-options.ts'

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

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
      const made = await createObject(context, exchange, target, {
        object,
        options,
        manager: undefined,
      })
      return exchange.json(201, new View(exchange, type, context.clock).object(made))
    } catch (error) {
      // Somebody else made it meanwhile: then it is an update.
      if (!isApiError(error, 'AlreadyExists')) throw error
    }
  }
  const { dryRun } = options
  const made = await updateObject(context, exchange, target, { dryRun, part, change: merge })
  exchange.json(200, new View(exchange, type, context.clock).object(made))
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
  const { type, subresource } = target
  const { live, config } = request
  const attempt = (force: boolean) =>
    applyServerSide({
      live: live === undefined ? undefined : asJson(live),
      config,
      manager: request.manager,
      force,
      schema: context.schemas.get(type)?.node,
      apiVersion: apiVersionOfType(type),
      time: formatTime(context.clock.now()),
      ignored: ignoredPaths(target, config as unknown as KubeObject),
      ...(subresource === 'status' ? { subresource } : {}),
    })
  let result = attempt(request.force)
  if (result.conflicts.length > 0) {
    if (!isTakeover(request, result.conflicts)) throw applyConflict(result.conflicts)
    result = attempt(true)
  }
  return asObject(result.object, type)
}

/** kubectl may take over what an earlier client-side `kubectl apply` of the same object owns. */
function isTakeover(request: Merge, conflicts: readonly ManagerConflict[]): boolean {
  if (request.manager !== 'kubectl') return false
  if (request.live?.metadata.annotations?.[lastApplied] === undefined) return false
  return conflicts.every(({ owner }) =>
    /^"(kubectl-client-side-apply|before-first-apply)"/.test(owner),
  )
}
