/** Sample applications: folders of YAML, with or without a kustomization, applied as they are. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import { MeshError } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import type { Applier } from './apply.ts'

const samplesFolder = fileURLToPath(new URL('../../../samples', import.meta.url))

/** A sample's objects and the namespace they live in. */
export interface Sample {
  readonly name: string
  readonly namespace: string
  readonly objects: readonly KubeObject[]
}

/** The samples that can be applied: folders with YAML (others hold only programs). */
export function sampleNames(folder = samplesFolder): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => {
      const root = join(folder, name)
      return statSync(root).isDirectory() && readdirSync(root).some(isYaml)
    })
    .toSorted()
}

function isYaml(file: string): boolean {
  return /\.ya?ml$/.test(file)
}

/** Reads `samples/NAME`. Rejects unknown names and broken YAML with the file and line. */
export function readSample(name: string, folder = samplesFolder): Sample {
  const root = join(folder, name)
  const known = sampleNames(folder)
  if (!known.includes(name)) {
    throw new MeshError('INIT_SAMPLE', `there is no sample "${name}"`, {
      hint:
        known.length === 0
          ? 'This installation has no samples.'
          : `There are: ${known.join(', ')}; none leaves them out.`,
    })
  }
  const kustomization = readKustomization(root)
  const files =
    kustomization?.resources ??
    readdirSync(root)
      .filter((file) => isYaml(file) && file !== 'kustomization.yaml')
      .toSorted()
  const objects = files.flatMap((file) => readObjects(join(root, file)))
  const namespace = kustomization?.namespace ?? name
  return {
    name,
    namespace,
    objects: objects.map((object) =>
      object.kind === 'Namespace' || object.metadata.namespace !== undefined
        ? object
        : { ...object, metadata: { ...object.metadata, namespace } },
    ),
  }
}

/** Applies a sample; its namespace is made part of the mesh, unless it is there already. */
export async function applySample(applier: Applier, sample: Sample): Promise<void> {
  const ambient = { 'istio.io/dataplane-mode': 'ambient' }
  await applier.apply(
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: sample.namespace, labels: ambient },
    },
    'create',
  )
  const first = sample.objects.filter(
    ({ kind }) => kind === 'ServiceAccount' || kind === 'ConfigMap',
  )
  const rest = sample.objects.filter((one) => !first.includes(one) && one.kind !== 'Namespace')
  await Promise.all(first.map((object) => applier.apply(object)))
  await Promise.all(rest.map((object) => applier.apply(object)))
}

function readKustomization(root: string): { resources: string[]; namespace?: string } | undefined {
  const path = join(root, 'kustomization.yaml')
  if (!existsSync(path)) return undefined
  const value = parse(readFileSync(path, 'utf8')) as { resources?: unknown; namespace?: unknown }
  const resources = Array.isArray(value.resources) ? value.resources.map(String) : []
  return typeof value.namespace === 'string'
    ? { resources, namespace: value.namespace }
    : { resources }
}

function readObjects(path: string): KubeObject[] {
  const objects: KubeObject[] = []
  for (const document of parseAllDocuments(readFileSync(path, 'utf8'))) {
    const [error] = document.errors
    if (error !== undefined) {
      throw new MeshError('INIT_YAML', `${path}: ${error.message}`, { hint: 'Correct the file.' })
    }
    const value: unknown = document.toJS()
    if (value === null || value === undefined) continue
    // What else it needs the registry checks, with better words.
    const object = value as Partial<KubeObject>
    if (
      object.kind === undefined ||
      object.apiVersion === undefined ||
      object.metadata === undefined
    ) {
      throw new MeshError('INIT_YAML', `${path}: a document without apiVersion, kind or metadata`, {
        hint: 'Every document is one Kubernetes object.',
      })
    }
    objects.push(object as KubeObject)
  }
  return objects
}
