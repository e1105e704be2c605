/** Reads what a resource path asks for: group version, namespace, resource, name, subresource. */
import { badRequest } from '../../kube/index.ts'

export interface RequestInfo {
  readonly groupVersion: string
  readonly namespace: string | undefined
  readonly resource: string
  readonly name: string | undefined
  readonly subresource: string | undefined
}

/** Subresources of a namespace itself; what else follows a namespace is a resource in it. */
const ofNamespaces = new Set(['status', 'finalize'])

/** Undefined when the path does not lie below a resource (`/api/v1`, `/apis/apps` ...). */
export function parseResourcePath(path: string): RequestInfo | undefined {
  const parts = path.split('/').filter((part) => part !== '')
  const prefix = parts.shift()
  let groupVersion: string
  if (prefix === 'api') groupVersion = parts.shift() ?? ''
  else if (prefix === 'apis') groupVersion = `${parts.shift() ?? ''}/${parts.shift() ?? ''}`
  else return undefined
  const segments = parts.map(segment)
  if (segments.length === 0) return undefined
  let namespace: string | undefined
  const [first, second, third] = segments
  if (first === 'namespaces' && third !== undefined && !ofNamespaces.has(third)) {
    namespace = second
    segments.splice(0, 2)
  }
  const [resource = '', name, ...subresource] = segments
  return {
    groupVersion,
    namespace,
    resource,
    name,
    subresource: subresourceOf(subresource),
  }
}

/** What follows `proxy` is a path of somebody else's. */
function subresourceOf(segments: readonly string[]): string | undefined {
  if (segments.length === 0) return undefined
  return segments[0] === 'proxy' ? 'proxy' : segments.join('/')
}

function segment(text: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw badRequest(`the path segment "${text}" is not properly encoded`)
  }
  if (decoded === '.' || decoded === '..' || decoded.includes('/') || decoded.includes('%')) {
    throw badRequest(
      `the path segment "${decoded}" is not allowed: names can't be "." or "..", or contain "/" or "%"`,
    )
  }
  return decoded
}
