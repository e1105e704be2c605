/** JSON patch (RFC 6902) over JSON pointers (RFC 6901). All operations succeed or none. */
import { badRequest, failure, tooLarge } from '../kube/index.ts'
import { jsonPatchMaxOperations } from './limits.ts'
import { clone, isMap, type Json, put, same } from './values.ts'

export interface JsonPatchOperation {
  readonly op: string
  readonly path: string
  readonly from?: string
  readonly value?: unknown
}

/**
 * The target with all operations applied; neither argument is changed. Throws 400 for something
 * that isn't a JSON patch, 422 for one that doesn't fit the target or whose `test` fails.
 */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) {
    throw badRequest('a JSON patch must be a list of operations such as {"op","path","value"}')
  }
  if (operations.length > jsonPatchMaxOperations) {
    const count = `got ${operations.length}`
    throw tooLarge(
      `The allowed maximum operations in a JSON patch is ${jsonPatchMaxOperations}, ${count}`,
    )
  }
  // The document sits in a holder, so that the root can be replaced like any other place.
  const holder: Json = { root: clone(target) }
  for (const [i, operation] of operations.entries()) apply(holder, checked(operation, i))
  return holder['root']
}

function checked(operation: unknown, index: number): JsonPatchOperation {
  const where = `operation ${index} of the JSON patch`
  if (!isMap(operation)) throw badRequest(`${where} is not an object`)
  const { op, path, from } = operation
  if (typeof op !== 'string') throw badRequest(`${where} has no "op"`)
  if (typeof path !== 'string') throw badRequest(`${where} (${op}) has no "path"`)
  if ((op === 'move' || op === 'copy') && typeof from !== 'string') {
    throw badRequest(`${where} (${op} ${path}) has no "from"`)
  }
  if ((op === 'add' || op === 'replace') && !Object.hasOwn(operation, 'value')) {
    throw badRequest(`${where} (${op} ${path}) has no "value"`)
  }
  return operation as unknown as JsonPatchOperation
}

function apply(holder: Json, operation: JsonPatchOperation): void {
  const { op, path } = operation
  switch (op) {
    case 'test': {
      const found = locate(holder, path, operation)
      // A test for null also holds for something absent, as in the library Kubernetes uses.
      const value = found.exists() ? found.read() : null
      if (!same(value, operation.value ?? null)) throw rejected(operation, 'the value differs')
      return
    }
    case 'add':
      locate(holder, path, operation).add(clone(operation.value))
      return
    case 'replace':
      locate(holder, path, operation).replace(clone(operation.value))
      return
    case 'remove':
      locate(holder, path, operation).remove()
      return
    case 'copy':
      locate(holder, path, operation).add(clone(source(holder, operation).read()))
      return
    case 'move': {
      if (path.startsWith(`${operation.from}/`)) {
        throw rejected(operation, 'a value cannot move into itself')
      }
      const from = source(holder, operation)
      const value = from.read()
      from.remove()
      locate(holder, path, operation).add(value)
      return
    }
    default:
      throw badRequest(
        `unknown operation "${op}" in the JSON patch; use add, remove, replace, move, copy or test`,
      )
  }
}

function source(holder: Json, operation: JsonPatchOperation): Place {
  return locate(holder, operation.from ?? '', operation)
}

function rejected(operation: JsonPatchOperation, why: string): Error {
  const { op, path } = operation
  return failure(422, 'Invalid', `the JSON patch can't be applied: ${op} "${path}": ${why}`)
}

function pointer(path: string): string[] {
  if (path === '') return []
  if (!path.startsWith('/') || /~(?![01])/.test(path)) {
    throw badRequest(`"${path}" is not a JSON pointer: it must start with / and escape ~ as ~0`)
  }
  return path
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** One place in the document: a key of a map or an index of a list, there or not. */
interface Place {
  exists(): boolean
  read(): unknown
  add(value: unknown): void
  replace(value: unknown): void
  remove(): void
}

function locate(holder: Json, path: string, operation: JsonPatchOperation): Place {
  const tokens = ['root', ...pointer(path)]
  if (operation.op === 'remove' && tokens.length === 1) {
    throw rejected(operation, 'the whole object cannot be removed by a patch')
  }
  const last = tokens.pop() ?? ''
  let parent: unknown = holder
  for (const token of tokens) {
    if (Array.isArray(parent)) parent = parent[indexIn(parent, token, operation)]
    else if (isMap(parent) && Object.hasOwn(parent, token)) parent = parent[token]
    else throw rejected(operation, `"${token}" does not exist`)
  }
  if (Array.isArray(parent)) return listPlace(parent, last, operation)
  if (isMap(parent)) return mapPlace(parent, last, operation)
  throw rejected(operation, `what holds "${last}" is neither an object nor a list`)
}

function mapPlace(map: Json, key: string, operation: JsonPatchOperation): Place {
  const exists = () => Object.hasOwn(map, key)
  const need = () => {
    if (!exists()) throw rejected(operation, `"${key}" does not exist`)
  }
  return {
    exists,
    read: () => {
      need()
      return map[key]
    },
    add: (value) => put(map, key, value),
    replace: (value) => {
      need()
      put(map, key, value)
    },
    remove: () => {
      need()
      delete map[key]
    },
  }
}

function listPlace(list: unknown[], token: string, operation: JsonPatchOperation): Place {
  const at = () => indexIn(list, token, operation)
  return {
    exists: () => /^(0|[1-9]\d*)$/.test(token) && Number(token) < list.length,
    read: () => list[at()],
    add: (value) => {
      if (token === '-') list.push(value)
      else list.splice(indexIn(list, token, operation, 1), 0, value)
    },
    replace: (value) => {
      list[at()] = value
    },
    remove: () => {
      list.splice(at(), 1)
    },
  }
}

function indexIn(
  list: readonly unknown[],
  token: string,
  operation: JsonPatchOperation,
  beyond = 0,
): number {
  const index = /^(0|[1-9]\d*)$/.test(token) ? Number(token) : -1
  if (index >= 0 && index < list.length + beyond) return index
  throw rejected(operation, `"${token}" is not an index of a list of ${list.length}`)
}
