/**
 * For tests: the golden cases of whole views. In `input.yaml` the first document names the proxy and what to
 * look at; the others are the mesh. Also read by the test with a stock Envoy.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DescMessage } from '@bufbuild/protobuf'
import { parseAllDocuments, stringify } from 'yaml'
import { modelEvents, objectsFromYaml } from '../../../ingest/index.ts'
import { buildSnapshot, defaultMeshSettings } from '../../../model/index.ts'
import * as envoy from '../../../proto/envoy.ts'
import { fromBinary, typeUrl } from '../../../proto/index.ts'
import { Memo } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import { readable } from '../policies/fixture.ts'
import { type ProxyView, proxyView } from '../proxy.ts'
import { translateView, type ViewResources, type ViewTranslation } from '../view.ts'

export const viewCorpusFolder = join(import.meta.dirname, 'testdata')

export interface ViewQuestion {
  readonly proxy: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>
  /** Kinds of resources whose names to look at; all without it. */
  readonly kinds?: readonly (keyof ViewResources)[]
  /** Names of resources to look at in full. */
  readonly show?: readonly string[]
  /** Fields of filter chains and listeners to leave out: what other cases are for. */
  readonly without?: readonly string[]
}

export interface ViewCase {
  readonly question: ViewQuestion
  readonly translation: ViewTranslation
}

export function viewCases(): string[] {
  return readdirSync(viewCorpusFolder).toSorted()
}

export function readViewCase(name: string): ViewCase {
  const path = join(viewCorpusFolder, name, 'input.yaml')
  const [first, ...rest] = parseAllDocuments(readFileSync(path, 'utf8'))
  // A test's own document: it has the form above, or the test fails.
  const question = first?.toJS() as ViewQuestion
  const input = rest.map((document) => stringify(document.toJS())).join('---\n')
  const objects = objectsFromYaml(input, path).map(({ object }) => object)
  const snapshot = buildSnapshot(defaultMeshSettings, modelEvents(objects, defaultMeshSettings))
  const given = { snapshot, memo: new Memo(), keySets: new Map<string, string>() }
  return { question, translation: translateView(given, proxyView(question.proxy)) }
}

const schemas: Readonly<Record<string, DescMessage>> = {
  [typeUrl.listener]: envoy.listener.ListenerSchema,
  [typeUrl.route]: envoy.route.RouteConfigurationSchema,
  [typeUrl.cluster]: envoy.cluster.ClusterSchema,
  [typeUrl.endpoint]: envoy.endpoint.ClusterLoadAssignmentSchema,
  [typeUrl.secret]: envoy.tlsSecret.SecretSchema,
  [typeUrl.extensionConfig]: envoy.extension.TypedExtensionConfigSchema,
}

/** A resource as JSON of its message. */
export function viewMessage(resource: TranslatedResource): Record<string, unknown> {
  const schema = schemas[resource.typeUrl]
  if (schema === undefined) throw new TypeError(resource.typeUrl)
  // A message is an object in JSON.
  return readable(schema, fromBinary(schema, resource.bytes)) as Record<string, unknown>
}
