/** Patches of the HTTP filters of a connection manager. */
import type { hcm } from '../../../proto/envoy.ts'
import { patchList } from './lists.ts'
import { namedFilter } from './names.ts'
import { merge, type Patcher, valueOf } from './patcher.ts'
import type { Patch } from './select.ts'

type HttpFilter = hcm.HttpFilter

const routerName = 'envoy.filters.http.router'

export function patchHttpFilters(
  patcher: Patcher,
  given: readonly HttpFilter[],
  patches: readonly Patch[],
): readonly HttpFilter[] {
  let filters = given
  for (const patch of patches) {
    const { waypoint, listener } = patch.match
    const filter = waypoint?.filter ?? listener?.filterChain?.filter
    filters = patchList(filters, {
      operation: patch.operation,
      value: valueOf<HttpFilter>(patch),
      selects: namedFilter(filter?.subFilter?.name),
      merge: (one) =>
        merge(
          patcher,
          'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter',
          one,
          patch,
        ),
      end: (list) => classPlace(list, patch.filterClass),
    })
  }
  return filters
}

/** Filters of the mesh by what they are for, so that others can take their place in the order. */
const classes: Readonly<Record<string, readonly string[]>> = {
  AUTHN: ['envoy.filters.http.jwt_authn'],
  AUTHZ: ['envoy.filters.http.ext_authz', 'envoy.filters.http.rbac'],
}

/**
 * After the filters of its class (or those that come before such); otherwise the end, which is before the
 * router: Envoy refuses a manager with anything behind that.
 */
function classPlace(filters: readonly HttpFilter[], filterClass: string): number {
  const router = filters.findIndex(({ name }) => name === routerName)
  const end = router < 0 ? filters.length : router
  if (filterClass !== 'AUTHN' && filterClass !== 'AUTHZ') return end
  const before = filterClass === 'AUTHN' ? ['AUTHN'] : ['AUTHN', 'AUTHZ']
  const names = new Set(before.flatMap((one) => classes[one] ?? []))
  const last = filters.findLastIndex(({ name }) => names.has(name))
  if (last >= 0) return last + 1
  const authorization = filters.findIndex(({ name }) => classes.AUTHZ?.includes(name) === true)
  return authorization < 0 ? 0 : authorization
}
