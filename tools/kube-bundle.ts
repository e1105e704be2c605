/**
 * Makes src/schema/kubernetes.bundle.json and crds.bundle.json: the schemas of the built-in kinds
 * and of Istio's and the Gateway API's CRDs, reduced to facts (names, types, enums, bounds,
 * defaults, list types, rules). Descriptions are not taken over. For developers, by
 * `sh tools/kube-bundle.sh`, when a pinned version changes; the result is committed.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { CrdBundle, CrdFacts, KubernetesBundle } from '../src/schema/bundle.ts'
import { fromOpenApi } from '../src/schema/openapi-node.ts'
import type { SchemaNode } from '../src/schema/types.ts'
import { builtinKinds, definitionOverrides, definitionRoots } from './kube-bundle-kinds.ts'

type Json = Record<string, unknown>

const [definitionsFile, istioFolder, gatewayFolder] = process.argv.slice(2)
if (definitionsFile === undefined || istioFolder === undefined || gatewayFolder === undefined) {
  throw new Error('usage: kube-bundle.ts DEFINITIONS.json ISTIO_API_FOLDER GATEWAY_API_FOLDER')
}

/** `#/$defs/io.k8s.api.core.v1.Pod` → the name alone. */
function refName(text: unknown): string {
  return String(text).replace(/^.*\//, '')
}

function kubernetesBundle(file: string): KubernetesBundle {
  const source = (JSON.parse(readFileSync(file, 'utf8')) as { $defs: Record<string, Json> }).$defs
  const definitions: Record<string, SchemaNode> = {}
  const take = (name: string): void => {
    if (definitions[name] !== undefined) return
    const from = source[name]
    if (from === undefined) throw new Error(`${file} has no definition ${name}`)
    const node = definitionOverrides[name] ?? fromOpenApi(from, { refName })
    definitions[name] = node
    forEachRef(node, take)
  }
  const kinds: Record<string, string> = {}
  for (const [apiVersion, names] of Object.entries(builtinKinds)) {
    const slash = apiVersion.indexOf('/')
    const group = slash < 0 ? '' : apiVersion.slice(0, slash)
    const version = apiVersion.slice(slash + 1)
    for (const kind of names) {
      const found = Object.entries(source).find(
        ([name, definition]) =>
          name.endsWith(`.${version}.${kind}`) &&
          ((definition['x-kubernetes-group-version-kind'] ?? []) as Json[]).some(
            (gvk) => gvk['group'] === group && gvk['version'] === version && gvk['kind'] === kind,
          ),
      )
      const name = found?.[0] ?? definitionRoots[`${apiVersion}/${kind}`]
      if (name === undefined) throw new Error(`${file} has no ${apiVersion} ${kind}`)
      take(name)
      kinds[`${group}/${version}/${kind}`] = name
      dropConstants(definitions[name])
    }
  }
  for (const [name, field] of [
    ['io.k8s.api.core.v1.ContainerPort', 'protocol'],
    ['io.k8s.api.core.v1.ServicePort', 'protocol'],
  ] as const) {
    // Only OpenAPI v3 carries defaults; these two matter because they are part of list keys.
    const properties = definitions[name]?.properties
    if (properties?.[field] !== undefined) properties[field].default = 'TCP'
  }
  const sorted = Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    provenance: 'PyPI kubernetes-validate 1.37.0, schemas of Kubernetes 1.35.0 (Apache-2.0)',
    kinds,
    definitions: Object.fromEntries(sorted),
  }
}

/** The source pins apiVersion and kind by an enum; the API itself checks them otherwise. */
function dropConstants(node: SchemaNode | undefined): void {
  for (const field of ['apiVersion', 'kind']) delete node?.properties?.[field]?.enum
}

function children(node: SchemaNode): SchemaNode[] {
  const { additionalProperties: values } = node
  return [
    ...Object.values(node.properties ?? {}),
    ...(node.items === undefined ? [] : [node.items]),
    ...(typeof values === 'object' ? [values] : []),
    ...(node.allOf ?? []),
    ...(node.anyOf ?? []),
    ...(node.oneOf ?? []),
    ...(node.not === undefined ? [] : [node.not]),
  ]
}

function forEachRef(node: SchemaNode, visit: (name: string) => void): void {
  if (node.ref !== undefined) visit(node.ref)
  for (const child of children(node)) forEachRef(child, visit)
}

/** The parts of a CRD that are facts about the API; what an installer adds is dropped. */
function crdFacts(crd: Json, source: CrdFacts['source']): CrdFacts {
  const spec = crd['spec'] as Json
  const metadata = crd['metadata'] as Json
  const kept = /^gateway\.networking\.k8s\.io\/|^istio$/
  const only = (map: unknown) =>
    Object.fromEntries(Object.entries((map ?? {}) as Json).filter(([key]) => kept.test(key)))
  return {
    source,
    labels: only(metadata['labels']) as Record<string, string>,
    annotations: only(metadata['annotations']) as Record<string, string>,
    group: String(spec['group']),
    scope: spec['scope'] as 'Namespaced' | 'Cluster',
    names: spec['names'] as CrdFacts['names'],
    versions: (spec['versions'] as Json[]).map((version) => ({
      name: String(version['name']),
      served: version['served'] === true,
      storage: version['storage'] === true,
      deprecated: version['deprecated'] === true,
      columns: ((version['additionalPrinterColumns'] ?? []) as Json[]).map((column) =>
        Object.fromEntries(Object.entries(column).filter(([key]) => key !== 'description')),
      ),
      subresources: (version['subresources'] ?? {}) as Json,
      schema: fromOpenApi((version['schema'] as Json)['openAPIV3Schema'] as Json, { refName }),
    })),
  }
}

function readCrds(file: string): Json[] {
  return parseAllDocuments(readFileSync(file, 'utf8'))
    .map((document) => document.toJSON() as Json | null)
    .filter((object) => object?.['kind'] === 'CustomResourceDefinition') as Json[]
}

/** Replaces sub-schemas that occur more than once by references into a table. */
function share(crds: readonly CrdFacts[]): CrdBundle['definitions'] {
  const counts = new Map<string, number>()
  const count = (node: SchemaNode): void => {
    const text = JSON.stringify(node)
    const seen = counts.get(text) ?? 0
    counts.set(text, seen + 1)
    if (seen === 0) for (const child of children(node)) count(child)
  }
  const definitions: Record<string, SchemaNode> = {}
  const names = new Map<string, string>()
  const shared = (node: SchemaNode): SchemaNode => {
    const text = JSON.stringify(node)
    const worth = text.length > 30 && (counts.get(text) ?? 0) > 1
    if (!worth) return inside(node)
    let name = names.get(text)
    if (name === undefined) {
      name = names.size.toString(36)
      names.set(text, name)
      definitions[name] = inside(node)
    }
    return { ref: name }
  }
  const inside = (node: SchemaNode): SchemaNode => ({
    ...node,
    ...(node.properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(node.properties).map(([key, child]) => [key, shared(child)]),
          ),
        }),
    ...(node.items === undefined ? {} : { items: shared(node.items) }),
    ...(typeof node.additionalProperties === 'object'
      ? { additionalProperties: shared(node.additionalProperties) }
      : {}),
  })
  for (const crd of crds) for (const version of crd.versions) count(version.schema)
  for (const crd of crds)
    for (const version of crd.versions) version.schema = shared(version.schema)
  return definitions
}

function crdBundle(istio: string, gateway: string): CrdBundle {
  const crds = readCrds(join(istio, 'kubernetes/customresourcedefinitions.gen.yaml')).map((crd) =>
    crdFacts(crd, 'istio'),
  )
  for (const channel of ['standard', 'experimental'] as const) {
    const folder = join(gateway, 'config/crd', channel)
    for (const file of readdirSync(folder).sort()) {
      crds.push(...readCrds(join(folder, file)).map((crd) => crdFacts(crd, channel)))
    }
  }
  return {
    provenance:
      'Go modules istio.io/api v1.31.1 and sigs.k8s.io/gateway-api v1.7.0 (Apache-2.0), facts only',
    definitions: share(crds),
    crds,
  }
}

/** One definition or CRD a line, so that a version bump can be reviewed. */
function write(name: string, bundle: KubernetesBundle | CrdBundle): void {
  const body = Object.entries(bundle).map(([key, value]) => {
    if (typeof value === 'string') return `${JSON.stringify(key)}:${JSON.stringify(value)}`
    const rows = Array.isArray(value)
      ? value.map((row) => JSON.stringify(row))
      : Object.entries(value).map(([k, row]) => `${JSON.stringify(k)}:${JSON.stringify(row)}`)
    const [open, close] = Array.isArray(value) ? '[]' : '{}'
    return `${JSON.stringify(key)}:${open}\n${rows.join(',\n')}\n${close}`
  })
  const text = `{${body.join(',\n')}}\n`
  writeFileSync(new URL(`../src/schema/${name}.bundle.json`, import.meta.url), text)
  console.log(`${name}.bundle.json: ${text.length} bytes`)
}

write('kubernetes', kubernetesBundle(definitionsFile))
write('crds', crdBundle(istioFolder, gatewayFolder))
