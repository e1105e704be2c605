/** The CRDs of Istio and of the Gateway API as objects which the registry can store. */
import { type CrdFacts, type CrdVersionFacts, Linker, readCrdBundle } from './bundle.ts'
import type { Json } from './json.ts'
import { toOpenApi } from './openapi-node.ts'
import type { CrdObject } from './schema-registry.ts'

export interface BuiltinCrdOptions {
  /** Which channel of the Gateway API. Default `experimental`, which is a superset of `standard`. */
  readonly gatewayChannel?: 'standard' | 'experimental'
}

const keptByHelm = { 'helm.sh/resource-policy': 'keep' }

/** `apiextensions.k8s.io/v1` objects without status, in the order of their names. */
export function builtinCrds(options: BuiltinCrdOptions = {}): CrdObject[] {
  const channel = options.gatewayChannel ?? 'experimental'
  const bundle = readCrdBundle()
  const linker = new Linker(bundle.definitions)
  return bundle.crds
    .filter(({ source }) => source === 'istio' || source === channel)
    .map((facts) => crdObject(facts, linker))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
}

function crdObject(facts: CrdFacts, linker: Linker): CrdObject {
  const { group, names, scope, source } = facts
  // Uninstalling Istio's charts leaves the definitions, and so everybody's objects, in place.
  const annotations = source === 'istio' ? keptByHelm : facts.annotations
  const filled = (map: Record<string, string>) => Object.keys(map).length > 0
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${names.plural}.${group}`,
      ...(filled(facts.labels) ? { labels: facts.labels } : {}),
      ...(filled(annotations) ? { annotations } : {}),
    },
    spec: {
      conversion: { strategy: 'None' },
      group,
      names: { listKind: `${names.kind}List`, singular: names.kind.toLowerCase(), ...names },
      scope,
      versions: facts.versions.map((version) => versionObject(version, linker)),
    },
  }
}

function versionObject(facts: CrdVersionFacts, linker: Linker): Json {
  const { columns, subresources } = facts
  return {
    name: facts.name,
    served: facts.served,
    storage: facts.storage,
    ...(facts.deprecated ? { deprecated: true } : {}),
    ...(columns.length > 0 ? { additionalPrinterColumns: columns } : {}),
    ...(Object.keys(subresources).length > 0 ? { subresources } : {}),
    schema: { openAPIV3Schema: toOpenApi(linker.link(facts.schema)) },
  }
}
