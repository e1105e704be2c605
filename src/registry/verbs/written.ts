/** What a write made: the stored bytes, which mostly are the answer as they are, or a dry run's object. */
import type { KubeObject } from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import type { ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import { bytesAt, objectAt } from './versions.ts'
import { View } from './view.ts'

export type Written = Entry | { readonly object: KubeObject }

/** The object in the version of `type`. */
export function writtenObject(type: ResourceType, written: Written): KubeObject {
  return 'object' in written ? written.object : objectAt(type, written)
}

/** Answers a write in the form that the client accepts. */
export function sendWritten(
  context: VerbContext,
  exchange: Exchange,
  type: ResourceType,
  { code, written }: { readonly code: number; readonly written: Written },
): void {
  const view = new View(exchange, type, context.clock)
  if (!('object' in written) && view.plain && exchange.representation.format === 'json') {
    return exchange.send(code, 'application/json', bytesAt(type, written))
  }
  exchange.json(code, view.object(writtenObject(type, written)))
}
