/** From a request body to an object of the right kind, name and namespace. */
import { badRequest, type KubeObject, strictDecoding } from '../../kube/index.ts'
import type { SchemaRegistry } from '../../schema/index.ts'
import { unknownFields } from '../../schema/index.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeBody } from '../http/negotiate.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import { isMap } from '../values.ts'
import type { Target } from './target.ts'
import type { FieldValidation } from './write-options.ts'

/** Reads the body of a create or update. */
export async function readObject(exchange: Exchange, type: ResourceType): Promise<KubeObject> {
  return asObject(decodeBody(await exchange.body(), exchange.header('content-type')), type)
}

/** Checks that a decoded value is an object of this kind. */
export function asObject(value: unknown, type: ResourceType): KubeObject {
  if (!isMap(value)) throw badRequest(`the body must be an object of kind ${type.kind}`)
  const apiVersion = apiVersionOfType(type)
  // Some clients leave kind and version out where the path says them.
  const kind = value.kind ?? type.kind
  const version = value.apiVersion ?? apiVersion
  if (version !== apiVersion) {
    throw badRequest(
      `the API version in the data (${String(version)}) does not match the expected API version (${apiVersion})`,
    )
  }
  if (kind !== type.kind) {
    throw badRequest(
      `the kind in the data (${String(kind)}) does not match the expected kind (${type.kind})`,
    )
  }
  if (value.metadata !== undefined && value.metadata !== null && !isMap(value.metadata)) {
    throw badRequest('metadata: expected an object')
  }
  const { spec, status, ...others } = value
  return {
    ...others,
    kind: type.kind,
    apiVersion,
    metadata: {
      ...(value.metadata as KubeObject['metadata'] | undefined),
    } as KubeObject['metadata'],
    // A null is the same as an absent field everywhere in the Kubernetes API.
    ...(spec === undefined || spec === null ? {} : { spec }),
    ...(status === undefined || status === null ? {} : { status }),
  }
}

/** Name and namespace come from the path; the body may repeat them but not contradict. */
export function placeObject(object: KubeObject, target: Target): void {
  const { metadata } = object
  if (target.type.namespaced) {
    const given = metadata.namespace
    if (given !== undefined && given !== '' && given !== target.namespace) {
      throw badRequest(
        'the namespace of the provided object does not match the namespace sent on the request ' +
          `(${given} and ${target.namespace ?? ''})`,
      )
    }
    if (target.namespace !== undefined) metadata.namespace = target.namespace
  } else delete metadata.namespace
  if (target.name === undefined) return
  if (metadata.name !== undefined && metadata.name !== '' && metadata.name !== target.name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${target.name})`,
    )
  }
  metadata.name = target.name
}

/** Reports fields that the schema does not know, as the client asked: refuse, warn, or ignore. */
export function checkUnknownFields(
  exchange: Exchange,
  schemas: SchemaRegistry,
  request: {
    readonly type: ResourceType
    readonly object: KubeObject
    readonly how: FieldValidation
  },
): void {
  const { type, object, how } = request
  if (how === 'Ignore') return
  const schema = schemas.get(type)
  if (schema === undefined) return
  const unknown = unknownFields(schema, object).map((path) => `unknown field "${path}"`)
  if (unknown.length === 0) return
  if (how === 'Strict') throw strictDecoding(type, unknown)
  for (const text of unknown) exchange.warn(text)
}
