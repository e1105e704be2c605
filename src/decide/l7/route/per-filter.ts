/**
 * Configuration of filters for single routes (`typed_per_filter_config`). It is compiled with the route, by its
 * type; the filter of that name finds it, the most specific first.
 */
import type { Any } from '@bufbuild/protobuf/wkt'
import { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { compilePerRoute, type PerRoute } from '../filters/per-route.ts'
import { typeOf, unpack } from '../values.ts'

/** What a route says about one filter. */
export interface FilterOverride {
  readonly disabled: boolean | undefined
  readonly config: PerRoute | undefined
}

export type FilterOverrides = ReadonlyMap<string, FilterOverride>

export const noOverrides: FilterOverrides = new Map()

export function compileOverrides(
  configs: Readonly<Record<string, Any>>,
  place: Place,
): FilterOverrides {
  const names = Object.keys(configs)
  if (names.length === 0) return noOverrides
  const overrides = new Map<string, FilterOverride>()
  for (const name of names) {
    const at = place.at('typed_per_filter_config', name)
    const any = configs[name]
    const wrapper = unpack(any, api.FilterConfigSchema, at)
    const config = wrapper === undefined ? any : wrapper.config
    const compiled = config === undefined ? undefined : compilePerRoute(config, at)
    const optional = wrapper?.isOptional === true
    if (config !== undefined && compiled === undefined && !optional) {
      at.refuse(`${typeOf(config)} is not supported`)
    }
    overrides.set(name, {
      disabled: wrapper === undefined ? undefined : wrapper.disabled,
      config: compiled,
    })
  }
  return overrides
}

/** @param levels the most specific first */
export function overrideChain(levels: readonly FilterOverrides[]): readonly FilterOverrides[] {
  const used = levels.filter(({ size }) => size > 0)
  return used.length === 0 ? noChain : used
}

const noChain: readonly FilterOverrides[] = []
