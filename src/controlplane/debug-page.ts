/** What a debug page is: a name, a word of help, and an answer for a caller that may see it. */

export interface DebugCaller {
  /** Undefined: asks from this host and may see everything. */
  readonly namespace: string | undefined
}

export interface PageRequest {
  readonly query: URLSearchParams
  /** Only proxies of this namespace may be shown; undefined: all. */
  readonly namespace: string | undefined
}

export type PageAnswer =
  | { readonly json: unknown }
  | { readonly text: string; readonly status: number }
  | { readonly html: string }

export interface DebugPage {
  readonly help: string
  /** Other queries worth a line in the index, with their help. */
  readonly examples?: Readonly<Record<string, string>>
  /** Callers outside the system namespace may ask too, for proxies of their own namespace. */
  readonly forProxies?: boolean
  answer(request: PageRequest): PageAnswer
}

export type DebugPages = ReadonlyMap<string, DebugPage>

export const ok = (text: string): PageAnswer => ({ text, status: 200 })
export const badRequest = (text: string): PageAnswer => ({ text, status: 400 })
export const notFound = (text: string): PageAnswer => ({ text, status: 404 })

/** Answers a page by its name and query, `config_dump?proxyID=a`, as HTTP and xDS name it. */
export function answerPage(
  pages: DebugPages,
  target: string,
  caller: DebugCaller,
  systemNamespace: string,
): PageAnswer {
  const { pathname, searchParams: query } = new URL(target, 'http://debug/')
  const page = pages.get(pathname.slice(1))
  const isSystem = caller.namespace === undefined || caller.namespace === systemNamespace
  if (page?.forProxies !== true && !isSystem) {
    return {
      text: `this page is for service accounts in ${systemNamespace}, not for ${caller.namespace}\n`,
      status: 403,
    }
  }
  if (page === undefined) return notFound(`there is no page ${pathname}; see /debug/list\n`)
  return page.answer({ query, namespace: isSystem ? undefined : caller.namespace })
}

/** JSON as all pages write it; `?pretty` is for people. */
export function pageText(answer: PageAnswer, isPretty: boolean): string {
  if ('json' in answer) return `${JSON.stringify(answer.json, undefined, isPretty ? 2 : 0)}\n`
  return 'html' in answer ? answer.html : answer.text
}

/** The page of all pages. */
export function indexPage(pages: DebugPages): string {
  const rows = [...pages]
    .toSorted(([one], [two]) => (one < two ? -1 : 1))
    .flatMap(([name, { help, examples = {} }]) => [
      [name, help],
      ...Object.entries(examples).map(([query, text]) => [`${name}?${query}`, text]),
    ])
    .map(([path, help]) => `<tr><td><a href="/debug/${path}">${path}</a></td><td>${help}</td></tr>`)
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>istiod: debug pages</title></head>',
    '<body><h1>Debug pages</h1><p>Add <code>pretty</code> to a query for indented JSON.</p><table>',
    ...rows,
    '</table></body></html>\n',
  ].join('\n')
}
