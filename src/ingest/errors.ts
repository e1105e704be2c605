/** What can be wrong with a file of Kubernetes objects, told with file and line. */
import { MeshError } from '../base/index.ts'

export function badYaml(file: string, line: number, message: string): MeshError {
  return new MeshError('INGEST_BAD_YAML', `${file}:${line}: ${message}`, {
    hint: 'Correct the YAML at that line; `kubectl apply --dry-run=client -f` shows the same error.',
  })
}

export function notAnObject(file: string, line: number, missing: string): MeshError {
  return new MeshError(
    'INGEST_NOT_AN_OBJECT',
    `${file}:${line}: this document is no Kubernetes object: it has no ${missing}`,
    { hint: 'Every document needs apiVersion, kind and metadata.name.' },
  )
}
