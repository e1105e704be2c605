/** Filters and small values around the configuration of extensions. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { core, extension, hcm, listenerComponents } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { pack } from '../values.ts'

export function httpFilter<S extends DescMessage>(
  name: string,
  schema: S,
  message: MessageShape<S>,
): hcm.HttpFilter {
  return create(hcm.HttpFilterSchema, {
    name,
    configType: { case: 'typedConfig', value: pack(schema, message) },
  })
}

export function networkFilter<S extends DescMessage>(
  name: string,
  schema: S,
  message: MessageShape<S>,
): listenerComponents.Filter {
  return create(listenerComponents.FilterSchema, {
    name,
    configType: { case: 'typedConfig', value: pack(schema, message) },
  })
}

export function typedExtension<S extends DescMessage>(
  name: string,
  schema: S,
  message: MessageShape<S>,
): extension.TypedExtensionConfig {
  return create(extension.TypedExtensionConfigSchema, { name, typedConfig: pack(schema, message) })
}

export function textSource(text: string): core.DataSource {
  return create(core.DataSourceSchema, { specifier: { case: 'inlineString', value: text } })
}
