/**
 * The OpenAPI v3 document of one group version, trimmed to what kubectl and helm read: the schemas
 * with their Kubernetes extensions, and for each resource a path whose PATCH says how it can be
 * changed. The full documents upstream serves are fifteen times larger and nobody reads the rest.
 */
import { apiVersionOf, type GroupVersion } from '../kube/index.ts'
import { describe } from './descriptions.ts'
import type { Json } from './json.ts'
import { toOpenApi } from './openapi-node.ts'
import type { SchemaRegistry } from './schema-registry.ts'
import type { KindSchema, SchemaNode } from './types.ts'

export interface OpenApiResource {
  /** Plural: `pods`. */
  readonly resource: string
  readonly kind: string
  readonly namespaced: boolean
}

const strategic = 'application/strategic-merge-patch+json'
const patchTypes = [
  'application/apply-patch+yaml',
  'application/json-patch+json',
  'application/merge-patch+json',
]

/** The document of a group version with these resources; those without a schema are left out. */
export function openApiDocument(
  schemas: SchemaRegistry,
  groupVersion: GroupVersion,
  resources: readonly OpenApiResource[],
): Json {
  const writer = new SchemaWriter()
  const paths: Json = {}
  for (const resource of resources) {
    const kind = schemas.get({ ...groupVersion, kind: resource.kind })
    if (kind === undefined) continue
    writer.addKind(kind)
    Object.assign(paths, pathsOf(groupVersion, resource, kind))
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: apiVersionOf(groupVersion) },
    paths,
    components: { schemas: writer.schemas },
  }
}

function pathsOf(groupVersion: GroupVersion, resource: OpenApiResource, kind: KindSchema): Json {
  const { group } = groupVersion
  const root = group === '' ? '/api/v1' : `/apis/${apiVersionOf(groupVersion)}`
  const scope = resource.namespaced ? '/namespaces/{namespace}' : ''
  const gvk = kind.gvk
  const contentTypes = kind.custom ? patchTypes : [...patchTypes, strategic]
  const content = Object.fromEntries(contentTypes.map((type) => [type, { schema: patchSchema }]))
  const parameters = [query('dryRun'), query('fieldManager'), query('fieldValidation')]
  const responses = { '200': { description: 'OK' } }
  const action = (verb: string) => ({
    'x-kubernetes-action': verb,
    'x-kubernetes-group-version-kind': gvk,
  })
  return {
    [`${root}${scope}/${resource.resource}`]: {
      post: { ...action('post'), parameters, responses },
    },
    [`${root}${scope}/${resource.resource}/{name}`]: {
      patch: { ...action('patch'), parameters, requestBody: { content }, responses },
      put: { ...action('put'), parameters, responses },
    },
  }
}

const patchSchema = { type: 'object' }

function query(name: string): Json {
  return { name, in: 'query', schema: { type: 'string', uniqueItems: true } }
}

/** Writes kinds and, once each, the definitions that they use. */
class SchemaWriter {
  readonly schemas: Json = {}

  addKind(kind: KindSchema): void {
    const { gvk, node } = kind
    const name = node.name ?? customName(kind)
    const schema = this.#write(node)
    describe(kind, schema)
    schema['x-kubernetes-group-version-kind'] = [gvk]
    this.schemas[name] = schema
  }

  #write(node: SchemaNode): Json {
    return toOpenApi(node, (child) => {
      const { name } = child
      if (name === undefined) return undefined
      if (this.schemas[name] === undefined) {
        // Entered before it is written, because definitions can contain themselves.
        this.schemas[name] = {}
        this.schemas[name] = this.#write(child)
      }
      return `#/components/schemas/${name}`
    })
  }
}

/** `io.istio.networking.v1.Gateway`: the group reversed, as upstream names custom kinds. */
function customName({ gvk }: KindSchema): string {
  return [...gvk.group.split('.').reverse(), gvk.version, gvk.kind].join('.')
}
