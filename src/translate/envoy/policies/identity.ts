/**
 * How an RBAC filter sees who the peer is. Sidecars and gateways terminate the peer's TLS themselves:
 * its certificate tells. A waypoint's filters sit behind an internal listener, where the client's
 * certificate is out of sight: the listener that terminates HBONE puts the identity into the
 * connection's filter state, shared with the internal connection, and the filters read it there.
 */
import {
  type address,
  addressMatcher,
  filterStateMatcher,
  filterStateValue,
  type hcm,
  rbac,
  setFilterState,
  type stringMatcher,
  substitutionFormat,
  xdsCidr,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { httpFilter, textSource } from './filters.ts'

export type IdentitySource = 'certificate' | 'filter-state'

/** Filter state keys of a tunnelled connection, the names Istio uses. */
export const peerPrincipalKey = 'io.istio.peer_principal'
/** Values that tell internal connections apart. */
export const hashableString = 'envoy.hashable_string'
export const localPrincipalKey = 'io.istio.local_principal'
export const connectAuthorityKey = 'io.istio.connect_authority'
export const originalDestinationKey = 'envoy.filters.listener.original_dst.local_ip'
const originalSourceKey = 'envoy.filters.listener.original_dst.remote_ip'

/** A peer whose certificate has a name that matches. */
export function authenticated(
  name: stringMatcher.StringMatcher,
  source: IdentitySource,
): rbac.Principal['identifier'] {
  if (source === 'filter-state') {
    return inState(peerPrincipalKey, { case: 'stringMatch', value: name })
  }
  const value = create(rbac.Principal_AuthenticatedSchema, { principalName: name })
  return { case: 'authenticated', value }
}

/** A peer with an address in the range: whoever connected, not who a header says it was. */
export function connectedFrom(
  range: address.CidrRange,
  source: IdentitySource,
): rbac.Principal['identifier'] {
  if (source === 'certificate') return { case: 'directRemoteIp', value: range }
  // The internal connection itself comes from nowhere.
  const { addressPrefix, prefixLen } = range
  const same = create(xdsCidr.CidrRangeSchema, {
    addressPrefix,
    ...(prefixLen === undefined ? {} : { prefixLen }),
  })
  const value = create(addressMatcher.AddressMatcherSchema, { ranges: [same] })
  return inState(originalSourceKey, { case: 'addressMatch', value })
}

function inState(
  key: string,
  matcher: filterStateMatcher.FilterStateMatcher['matcher'],
): rbac.Principal['identifier'] {
  const value = create(filterStateMatcher.FilterStateMatcherSchema, { key, matcher })
  return { case: 'filterState', value }
}

/**
 * For the listener that terminates HBONE: destination, source and both identities of a CONNECT go
 * with the stream into the internal listener. Needs `internal_upstream` as that cluster's transport
 * socket. The strings are hashable, so that no two identities ever share an internal connection.
 */
export function connectAuthorityFilter(): hcm.HttpFilter {
  const { hashable, ofKey } = factories
  return httpFilter(
    'connect_authority',
    setFilterState.ConfigSchema,
    create(setFilterState.ConfigSchema, {
      onRequestHeaders: [
        shared(originalDestinationKey, '%REQ(:AUTHORITY)%', ofKey),
        shared(originalSourceKey, '%DOWNSTREAM_REMOTE_ADDRESS%', ofKey),
        shared(connectAuthorityKey, '%REQ(:AUTHORITY)%', hashable),
        shared(peerPrincipalKey, '%DOWNSTREAM_PEER_URI_SAN%', hashable),
        shared(localPrincipalKey, '%DOWNSTREAM_LOCAL_URI_SAN%', hashable),
      ],
    }),
  )
}

/** An object whose key is the name of a factory is made by that one. */
const factories = { hashable: hashableString, ofKey: '' } as const

/** A value that the first internal connection below this stream gets, and nobody after it. */
export function shared(
  objectKey: string,
  format: string,
  factoryKey: string,
): filterStateValue.FilterStateValue {
  return stateValue(objectKey, format, {
    factoryKey,
    sharedWithUpstream: filterStateValue.FilterStateValue_SharedWithUpstream.ONCE,
  })
}

/** A missing value is no value at all, never a dash. */
export function stateValue(
  objectKey: string,
  format: string,
  rest: {
    readonly factoryKey: string
    readonly sharedWithUpstream?: filterStateValue.FilterStateValue_SharedWithUpstream
  },
): filterStateValue.FilterStateValue {
  const { factoryKey, sharedWithUpstream } = rest
  return create(filterStateValue.FilterStateValueSchema, {
    key: { case: 'objectKey', value: objectKey },
    factoryKey,
    value: {
      case: 'formatString',
      value: create(substitutionFormat.SubstitutionFormatStringSchema, {
        format: { case: 'textFormatSource', value: textSource(format) },
        omitEmptyValues: true,
      }),
    },
    skipIfEmpty: true,
    ...(sharedWithUpstream === undefined ? {} : { sharedWithUpstream }),
  })
}
