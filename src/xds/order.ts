/** In which order a proxy needs the types, and which of them wait for others. */
import { typeUrl as urls } from '../proto/index.ts'

/** An endpoint before the route that leads to it. */
const pushOrder: readonly string[] = [
  urls.cluster,
  urls.endpoint,
  urls.listener,
  urls.route,
  urls.secret,
  urls.extensionConfig,
  urls.address,
  urls.workload,
  urls.authorization,
]

export function rank(typeUrl: string): number {
  const index = pushOrder.indexOf(typeUrl)
  return index < 0 ? pushOrder.length : index
}

/** `first`: named by others, so sent before them and removed after; `make`: names them; else on its own. */
export type Stage = 'first' | 'make' | 'apart'

export function stageOf(typeUrl: string): Stage {
  const index = rank(typeUrl)
  return index <= 1 ? 'first' : index <= 3 ? 'make' : 'apart'
}
