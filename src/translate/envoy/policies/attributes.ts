/**
 * The attributes a policy can name, each with its matcher. Keys are those of `when`; the fields of
 * `from` and `to` are shorthand for the same attributes.
 */
import { rbac, uriTemplate } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { stringMatch } from '../values.ts'
import { typedExtension } from './filters.ts'
import { authenticated, connectedFrom, type IdentitySource } from './identity.ts'
import { claimMatch, requestPrincipal } from './jwt-claims.ts'
import {
  cidrOf,
  dynamicMetadata,
  escapeRegex,
  headerMatch,
  isPathTemplate,
  isToken,
  listValue,
  pathMatch,
  pathTemplate,
  portOf,
  textValue,
  valueOf,
  wildcardRegex,
} from './matchers.ts'
import { principalsWithAliases, trustDomainsWithAliases } from './trust-domains.ts'

export interface RuleContext {
  readonly layer: 'http' | 'tcp'
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'
  /** Of the policy. */
  readonly namespace: string
  readonly identity: IdentitySource
  /** The mesh's own and its aliases. */
  readonly trustDomains: readonly string[]
}

interface AttributeBase {
  /** There is no such thing on a TCP connection. */
  readonly http: boolean
  /** Completes the sentence `'value' ...` of a problem. */
  readonly expects: string
}

export interface OperationAttribute extends AttributeBase {
  readonly about: 'operation'
  readonly of: (value: string, context: RuleContext) => rbac.Permission | undefined
}

export interface PeerAttribute extends AttributeBase {
  readonly about: 'peer'
  readonly of: (value: string, context: RuleContext) => rbac.Principal | undefined
  /** Other spellings of the values. */
  readonly expand?: (values: readonly string[], context: RuleContext) => readonly string[]
}

export type Attribute = OperationAttribute | PeerAttribute

const text = 'can not be matched'
const address = 'is no IP address or CIDR range'

function operation(
  read: (value: string) => rbac.Permission['rule'] | undefined,
  { http, expects }: AttributeBase,
): OperationAttribute {
  return {
    about: 'operation',
    http,
    expects,
    of: (value) => {
      const rule = read(value)
      return rule === undefined ? undefined : create(rbac.PermissionSchema, { rule })
    },
  }
}

function peer(
  read: (value: string, context: RuleContext) => rbac.Principal['identifier'] | undefined,
  { http, expects }: AttributeBase,
): PeerAttribute {
  return {
    about: 'peer',
    http,
    expects,
    of: (value, context) => {
      const identifier = read(value, context)
      return identifier === undefined ? undefined : create(rbac.PrincipalSchema, { identifier })
    },
  }
}

export const hostAttribute = operation(
  // Host names have no case.
  (value) => ({ case: 'header', value: headerMatch(':authority', value, true) }),
  { http: true, expects: text },
)

export const methodAttribute = operation(
  (value) => ({ case: 'header', value: headerMatch(':method', value) }),
  { http: true, expects: text },
)

export const pathAttribute = operation(
  (value) => {
    if (!isPathTemplate(value)) return { case: 'urlPath', value: pathMatch(value) }
    const template = pathTemplate(value)
    if (template === undefined) return undefined
    const name = 'envoy.path.match.uri_template.uri_template_matcher'
    return {
      case: 'uriTemplate',
      value: typedExtension(name, uriTemplate.UriTemplateMatchConfigSchema, template),
    }
  },
  { http: true, expects: 'is no path template: {*} must be a whole segment and {**} the last one' },
)

const destinationIp = operation(
  (value) => {
    const cidr = cidrOf(value)
    return cidr === undefined ? undefined : { case: 'destinationIp', value: cidr }
  },
  { http: false, expects: address },
)

const destinationPort = operation(
  (value) => {
    const port = portOf(value)
    return port === undefined ? undefined : { case: 'destinationPort', value: port }
  },
  { http: false, expects: 'is no port' },
)

const serverName = operation((value) => ({ case: 'requestedServerName', value: valueOf(value) }), {
  http: false,
  expects: text,
})

const sourceIp = peer(
  (value, { identity }) => {
    const cidr = cidrOf(value)
    return cidr === undefined ? undefined : connectedFrom(cidr, identity)
  },
  { http: false, expects: address },
)

/** The client before trusted proxies: from X-Forwarded-For, or the connection's own. */
const remoteIp = peer(
  (value) => {
    const cidr = cidrOf(value)
    return cidr === undefined ? undefined : { case: 'remoteIp', value: cidr }
  },
  { http: false, expects: address },
)

function identityMatching(regex: string, { identity }: RuleContext): rbac.Principal['identifier'] {
  return authenticated(stringMatch({ kind: 'regex', value: regex }), identity)
}

const sourceNamespace = peer(
  (value, context) => identityMatching(`spiffe://[^/]+/ns/${wildcardRegex(value)}/.*`, context),
  { http: false, expects: text },
)

/** `<namespace>/<name>`, or a name in the policy's own namespace; no wildcards. */
const sourceServiceAccount = peer(
  (value, context) => {
    const [namespace = '', name = '', ...rest] = value.includes('/')
      ? value.split('/')
      : [context.namespace, value]
    if (namespace === '' || name === '' || rest.length > 0 || value.includes('*')) return undefined
    const account = `ns/${escapeRegex(namespace)}/sa/${escapeRegex(name)}`
    return identityMatching(`spiffe://[^/]+/${account}`, context)
  },
  { http: false, expects: 'is no service account, as <namespace>/<name> or <name>' },
)

const sourceTrustDomain: PeerAttribute = {
  ...peer((value, context) => identityMatching(`spiffe://${wildcardRegex(value)}/.*`, context), {
    http: false,
    expects: text,
  }),
  expand: (values, { trustDomains }) => trustDomainsWithAliases(values, trustDomains),
}

const sourcePrincipal: PeerAttribute = {
  ...peer((value, { identity }) => authenticated(valueOf(value, 'spiffe://'), identity), {
    http: false,
    expects: text,
  }),
  expand: (values, { trustDomains }) => principalsWithAliases(values, trustDomains),
}

const principalOfRequest = peer((value) => requestPrincipal(value).identifier, {
  http: true,
  expects: text,
})

function claim(path: readonly string[]): PeerAttribute {
  return peer((value) => claimMatch(path, valueOf(value)).identifier, { http: true, expects: text })
}

function header(name: string): PeerAttribute {
  return peer((value) => ({ case: 'header', value: headerMatch(name, value) }), {
    http: true,
    expects: text,
  })
}

/** Dynamic metadata of a filter, `[x]` for an element of a list. */
function filterMetadata(filter: string, key: string): OperationAttribute {
  return operation(
    (value) => {
      const list = /^\[(.*)\]$/.exec(value)
      const matcher = textValue(valueOf(list?.[1] ?? value))
      const found = list === null ? matcher : listValue(matcher)
      return { case: 'sourcedMetadata', value: dynamicMetadata(filter, [key], found) }
    },
    { http: false, expects: text },
  )
}

const named: Readonly<Record<string, Attribute>> = {
  'destination.ip': destinationIp,
  'destination.port': destinationPort,
  'connection.sni': serverName,
  'source.ip': sourceIp,
  'remote.ip': remoteIp,
  'source.namespace': sourceNamespace,
  'source.serviceAccount': sourceServiceAccount,
  'source.trustDomain': sourceTrustDomain,
  'source.principal': sourcePrincipal,
  'request.auth.principal': principalOfRequest,
  'request.auth.audiences': claim(['aud']),
  'request.auth.presenter': claim(['azp']),
}

/** The attribute of a `when` key; undefined when there is none. */
export function attributeOf(key: string): Attribute | undefined {
  if (Object.hasOwn(named, key)) return named[key]
  const headerName = /^request\.headers\[([^[\]]+)\]$/.exec(key)?.[1]
  if (headerName !== undefined) {
    return isToken(headerName.replace(/^:/, '')) ? header(headerName) : undefined
  }
  const claims = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(key)?.[1]
  if (claims !== undefined) return claim(claims.slice(1, -1).split(']['))
  const metadata = /^experimental\.(envoy\.filters\.[^[\]]+)\[([^[\]]+)\]$/.exec(key)
  if (metadata !== null) return filterMetadata(metadata[1] ?? '', metadata[2] ?? '')
  return undefined
}
