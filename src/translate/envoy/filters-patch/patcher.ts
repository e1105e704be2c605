/** What all patches need: the types, the proxy, and how one message is merged into another. */
import { clone, type Message } from '@bufbuild/protobuf'
import type { EnvoyContext } from '../../../model/index.ts'
import type { FileRegistry } from '../../../proto/index.ts'
import type { ProxyView } from '../proxy.ts'
import { mergeMessage } from './merge.ts'
import type { Patch } from './select.ts'

export interface Patcher {
  readonly registry: FileRegistry
  readonly view: ProxyView
  readonly patches: readonly Patch[]
}

export function isContext(patch: Patch, context: EnvoyContext): boolean {
  return patch.context === context || (patch.context === 'ANY' && context !== 'WAYPOINT')
}

/** The value as the type that its target has; see the table in select.ts. A resource may not share it. */
export function valueOf<T>(patch: Patch): T | undefined {
  return patch.value as T | undefined
}

/** The message changed by the value of the patch; of the named type are both. */
export function merge<T extends Message>(
  { registry }: Patcher,
  typeName: string,
  message: T,
  patch: Pick<Patch, 'operation' | 'value'>,
): T {
  const desc = registry.getMessage(typeName)
  if (desc === undefined || patch.value === undefined) return message
  const target = clone(desc, message)
  const replaceLists = patch.operation === 'MERGE_AND_REPLACE_LIST'
  mergeMessage(desc, target, clone(desc, patch.value), { registry, replaceLists })
  // A clone has the type of what it was made from.
  return target as unknown as T
}
