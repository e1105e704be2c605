/** Small values of many resources: durations, fractions, typed extensions, provenance. */
import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { type core, percent } from '../../proto/envoy.ts'
import type { Place } from './errors.ts'
import type { Origin } from './types.ts'

interface Duration {
  readonly seconds: bigint
  readonly nanos: number
}

export function durationMs(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6
}

/** The share, from 0 to 1. */
export function shareOf(fraction: percent.FractionalPercent | undefined): number {
  if (fraction === undefined) return 0
  const units = percent.FractionalPercent_DenominatorType
  const whole =
    fraction.denominator === units.MILLION
      ? 1_000_000
      : fraction.denominator === units.TEN_THOUSAND
        ? 10_000
        : 100
  return Math.min(1, fraction.numerator / whole)
}

interface RuntimeFraction {
  readonly defaultValue?: percent.FractionalPercent | undefined
}

/** @param absent share when the field is not set; runtime keys have no layers here, so defaults hold */
export function runtimeShare(fraction: RuntimeFraction | undefined, absent: number): number {
  return fraction?.defaultValue === undefined ? absent : shareOf(fraction.defaultValue)
}

/** The name of a type: what is behind the slash of its URL. */
export function typeOf(any: Any | undefined): string {
  return any === undefined ? '' : any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1)
}

/** The message, when it is of that type; refuses bytes that can't be read. */
export function unpack<S extends DescMessage>(
  any: Any | undefined,
  schema: S,
  place: Place,
): MessageShape<S> | undefined {
  if (any === undefined || typeOf(any) !== schema.typeName) return undefined
  try {
    return fromBinary(schema, any.value)
  } catch {
    place.refuse(`${schema.typeName} can't be read`)
    return undefined
  }
}

/** `metadata.filter_metadata.istio` of a resource. */
export function originOf(metadata: core.Metadata | undefined): Origin | undefined {
  const istio = metadata?.filterMetadata.istio
  const config = istio?.config
  if (typeof config !== 'string') return undefined
  const path = istio?.path
  return { config, path: typeof path === 'string' ? path : undefined }
}

const decoder = new TextDecoder()

/** A text inside the configuration; files and variables of the environment are not read here. */
export function inlineText(source: core.DataSource | undefined, place: Place): string | undefined {
  const bytes = inlineBytes(source, place)
  return typeof bytes === 'string' || bytes === undefined ? bytes : decoder.decode(bytes)
}

export function inlineBytes(
  source: core.DataSource | undefined,
  place: Place,
): string | Uint8Array | undefined {
  if (source === undefined) return undefined
  const { specifier } = source
  if (specifier.case === 'inlineString' || specifier.case === 'inlineBytes') return specifier.value
  place.refuse(`the data source ${specifier.case ?? 'without content'} is not supported`)
  return undefined
}

/** The path without query and fragment. */
export function barePath(path: string): string {
  const query = path.indexOf('?')
  const end = query < 0 ? path.length : query
  const fragment = path.indexOf('#')
  return fragment >= 0 && fragment < end
    ? path.slice(0, fragment)
    : end === path.length
      ? path
      : path.slice(0, end)
}

/** What the metadata asks of endpoints. */
export function subsetCriteria(
  metadata: core.Metadata | undefined,
): Readonly<Record<string, unknown>> | undefined {
  const criteria = metadata?.filterMetadata['envoy.lb']
  return criteria === undefined || Object.keys(criteria).length === 0 ? undefined : criteria
}
