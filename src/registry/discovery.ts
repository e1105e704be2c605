/** Discovery in both forms: the aggregated document of today's clients, and the lists of older ones. */
import { createHash } from 'node:crypto'
import type { Catalogue } from './catalogue.ts'
import type { Exchange } from './http/exchange.ts'
import { apiVersionOfType, type ResourceType } from './resource-type.ts'

const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'

interface Verbs {
  readonly kind: string
  readonly group: string
  readonly version: string
  readonly verbs: readonly string[]
}

/** What the subresources answer with and which verbs they have. */
function subresource(type: ResourceType, name: string): Verbs {
  const own = { kind: type.kind, group: type.group, version: type.version }
  switch (name) {
    case 'scale':
      return {
        kind: 'Scale',
        group: 'autoscaling',
        version: 'v1',
        verbs: ['get', 'patch', 'update'],
      }
    case 'token':
      return {
        kind: 'TokenRequest',
        group: 'authentication.k8s.io',
        version: 'v1',
        verbs: ['create'],
      }
    case 'eviction':
      return { kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] }
    case 'binding':
      return { ...own, kind: 'Binding', verbs: ['create'] }
    case 'exec':
      return { ...own, kind: 'PodExecOptions', verbs: ['create', 'get'] }
    case 'attach':
      return { ...own, kind: 'PodAttachOptions', verbs: ['create', 'get'] }
    case 'portforward':
      return { ...own, kind: 'PodPortForwardOptions', verbs: ['create', 'get'] }
    case 'proxy':
      return {
        ...own,
        kind: type.kind === 'Pod' ? 'PodProxyOptions' : 'ServiceProxyOptions',
        verbs: ['create', 'delete', 'get', 'patch', 'update'],
      }
    case 'log':
      return { ...own, verbs: ['get'] }
    case 'finalize':
      return { ...own, verbs: ['update'] }
    default:
      return { ...own, verbs: ['get', 'patch', 'update'] }
  }
}

export class Discovery {
  readonly #catalogue: Catalogue
  #builtAt = -1
  #aggregated = new Map<string, { readonly body: string; readonly etag: string }>()

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue
  }

  /** Answers `/api`, `/apis` and what lies directly below; false when the path is something else. */
  answer(exchange: Exchange): boolean {
    const [root, ...rest] = exchange.path.split('/').filter((part) => part !== '')
    if (root === 'api') {
      if (rest.length === 0) return this.#root(exchange, 'api')
      return rest.length === 1 && this.#resources(exchange, rest[0] ?? '')
    }
    if (root !== 'apis') return false
    if (rest.length === 0) return this.#root(exchange, 'apis')
    if (rest.length === 1) return this.#group(exchange, rest[0] ?? '')
    return rest.length === 2 && this.#resources(exchange, rest.join('/'))
  }

  #root(exchange: Exchange, root: 'api' | 'apis'): boolean {
    if (exchange.representation.as === 'APIGroupDiscoveryList') {
      const { body, etag } = this.#document(root)
      const headers = { etag, vary: 'Accept', 'cache-control': 'public' }
      if (exchange.header('if-none-match') === etag) {
        exchange.head(304, headers)
        exchange.response.end()
      } else exchange.send(200, aggregatedType, body, headers)
      return true
    }
    if (root === 'api') {
      exchange.json(200, { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] })
      return true
    }
    const groups = this.#catalogue
      .groups()
      .filter(({ group }) => group !== '')
      .map(apiGroup)
    exchange.json(200, { kind: 'APIGroupList', apiVersion: 'v1', groups })
    return true
  }

  #group(exchange: Exchange, name: string): boolean {
    const found = this.#catalogue.groups().find(({ group }) => group === name && name !== '')
    if (found === undefined) return false
    exchange.json(200, { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(found) })
    return true
  }

  #resources(exchange: Exchange, groupVersion: string): boolean {
    if (!this.#catalogue.has(groupVersion)) return false
    const resources = this.#catalogue.of(groupVersion).flatMap(legacyResources)
    exchange.json(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources })
    return true
  }

  #document(root: 'api' | 'apis'): { readonly body: string; readonly etag: string } {
    if (this.#builtAt !== this.#catalogue.generation) {
      this.#aggregated = new Map()
      this.#builtAt = this.#catalogue.generation
    }
    let document = this.#aggregated.get(root)
    if (document === undefined) {
      const items = this.#catalogue
        .groups()
        .filter(({ group }) => (group === '') === (root === 'api'))
        .map(({ group, versions }) => ({
          metadata:
            group === '' ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
          versions: versions.map((version) => ({
            version,
            resources: this.#catalogue
              .of(group === '' ? version : `${group}/${version}`)
              .map(aggregated),
            freshness: 'Current',
          })),
        }))
      const list = {
        kind: 'APIGroupDiscoveryList',
        apiVersion: 'apidiscovery.k8s.io/v2',
        metadata: {},
        items,
      }
      const body = JSON.stringify(list)
      document = {
        body,
        etag: `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"`,
      }
      this.#aggregated.set(root, document)
    }
    return document
  }
}

function apiGroup({
  group,
  versions,
}: {
  readonly group: string
  readonly versions: readonly string[]
}) {
  const listed = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }))
  return { name: group, versions: listed, preferredVersion: listed[0] }
}

function aggregated(type: ResourceType): object {
  return {
    resource: type.resource,
    responseKind: { group: type.group, version: type.version, kind: type.kind },
    scope: type.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: type.singular,
    verbs: type.verbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    ...(type.subresources.length === 0
      ? {}
      : {
          subresources: type.subresources.map((name) => {
            const { kind, group, version, verbs } = subresource(type, name)
            return { subresource: name, responseKind: { group, version, kind }, verbs }
          }),
        }),
  }
}

function legacyResources(type: ResourceType): object[] {
  const own = apiVersionOfType(type)
  return [
    {
      name: type.resource,
      singularName: type.singular,
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: type.verbs,
      ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
      ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    },
    ...type.subresources.map((name) => {
      const { kind, group, version, verbs } = subresource(type, name)
      const elsewhere = apiVersionOfType({ group, version }) === own ? {} : { group, version }
      return {
        name: `${type.resource}/${name}`,
        singularName: '',
        namespaced: type.namespaced,
        ...elsewhere,
        kind,
        verbs,
      }
    }),
  ]
}
