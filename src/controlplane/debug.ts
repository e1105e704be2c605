/** The debug pages: what the control plane knows and what it sent. */

import { type MeshPagesOptions, meshPages } from './debug-mesh.ts'
import {
  type DebugPage,
  type DebugPages,
  indexPage,
  type PageAnswer,
  type PageRequest,
} from './debug-page.ts'
import { type ProxyPagesOptions, proxyPages } from './debug-proxies.ts'

export type DebugOptions = MeshPagesOptions & ProxyPagesOptions

/** The pages by their path below `/debug/`; the empty path is the index. */
export function debugPages(options: DebugOptions): DebugPages {
  const pages = new Map<string, DebugPage>([...proxyPages(options), ...meshPages(options)])
  const names = (): string[] => [...pages.keys()].filter((name) => name !== '' && name !== 'list')
  pages.set('list', {
    help: 'The names of all pages, as JSON',
    answer: (): PageAnswer => ({ json: names().toSorted() }),
  })
  const listed = new Map(pages)
  pages.set('', {
    help: 'This page',
    answer: (_request: PageRequest): PageAnswer => ({ html: indexPage(listed) }),
  })
  return pages
}
