/** Provenance on Envoy resources: `filter_metadata.istio = {config, path}`. */
import { core } from '../../proto/envoy.ts'
import { create } from '../../proto/index.ts'

/**
 * @param config the object's API path
 * @param path the field inside it (`/spec/rules/0`); absent: the object as a whole
 */
export function istioMetadata(config: string, path?: string): core.Metadata {
  return create(core.MetadataSchema, {
    filterMetadata: { istio: path === undefined ? { config } : { config, path } },
  })
}
