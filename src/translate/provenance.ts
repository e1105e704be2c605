/**
 * Where a translated resource comes from. This is what `explain` reads back out of resources:
 * the object's API path and, where there is one, the field inside it. Lines are added from the
 * side table of `ingest`, never through xDS.
 */

import type { JsonObject } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import type { ObjectRef, Service } from '../model/index.ts'
import { type Any, create, fromJson, StructSchema, security } from '../proto/index.ts'

/** `/apis/<group>/<version>/namespaces/<ns>/<kind>/<name>`, the form Istio uses in its metadata. */
export function configPath(ref: ObjectRef): string {
  const kind = ref.kind.replaceAll(/(?<=[a-z0-9])([A-Z])/g, '-$1').toLowerCase()
  if (ref.group === '') return `/api/${ref.version}/namespaces/${ref.namespace}/${kind}/${ref.name}`
  return `/apis/${ref.group}/${ref.version}/namespaces/${ref.namespace}/${kind}/${ref.name}`
}

/** Name of the extension in `Authorization.extensions`. */
export const provenanceExtension = 'weft.provenance'

/**
 * The extension of an Authorization: which object, and for each rule sent, which rule of the
 * object it is (rules that only a waypoint can enforce are not sent, so the indexes have gaps).
 */
export function policyProvenance(config: string, rules: readonly number[]): security.Extension {
  return create(security.ExtensionSchema, {
    name: provenanceExtension,
    config: packStruct({ config, rules: [...rules] }),
  })
}

export function packStruct(value: JsonObject): Any {
  return anyPack(StructSchema, fromJson(StructSchema, value))
}

/** The API path of the object behind a service. */
export function servicePath(service: Service): string {
  const isEntry = service.source === 'ServiceEntry'
  return configPath({
    group: isEntry ? 'networking.istio.io' : '',
    version: 'v1',
    kind: service.source,
    namespace: service.namespace,
    name: service.name,
  })
}
