/** Small Envoy values that many resources contain. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { address as addressApi, configSource, percent, stringMatcher } from '../../proto/envoy.ts'
import { type Any, create } from '../../proto/index.ts'

/** Envoy's counters are 32 bits: this is "no limit". */
export const unlimited = 4_294_967_295

export function adsSource(): configSource.ConfigSource {
  return create(configSource.ConfigSourceSchema, {
    configSourceSpecifier: {
      case: 'ads',
      value: create(configSource.AggregatedConfigSourceSchema),
    },
    resourceApiVersion: configSource.ApiVersion.V3,
  })
}

interface Duration {
  $typeName: 'google.protobuf.Duration'
  seconds: bigint
  nanos: number
}

export function duration(ms: number): Duration {
  const whole = Math.floor(ms / 1000)
  return {
    $typeName: 'google.protobuf.Duration',
    seconds: BigInt(whole),
    nanos: Math.round((ms - whole * 1000) * 1_000_000),
  }
}

const unitMs: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000001,
}

/** `1.5s`, `1h2m3s`, `250ms`; undefined for what is no duration. Zero is a duration. */
export function durationMs(text: string | undefined): number | undefined {
  if (text === undefined || !/^(\d+(\.\d+)?(h|ms|m|s|us|µs|ns)|0)+$/.test(text)) return undefined
  let total = 0
  for (const [, digits = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(digits) * (unitMs[unit] ?? 0)
  }
  return total
}

/** A field of a message, present only when the text is a duration. */
export function durationField<K extends string>(
  name: K,
  text: string | undefined,
): { [key in K]?: Duration } {
  const ms = durationMs(text)
  // The computed key is K, which TypeScript widens.
  return (ms === undefined ? {} : { [name]: duration(ms) }) as { [key in K]?: Duration }
}

export function socketAddress(address: string, port: number): addressApi.Address {
  return create(addressApi.AddressSchema, {
    address: {
      case: 'socketAddress',
      value: create(addressApi.SocketAddressSchema, {
        address,
        portSpecifier: { case: 'portValue', value: port },
      }),
    },
  })
}

export function pipeAddress(path: string): addressApi.Address {
  return create(addressApi.AddressSchema, {
    address: { case: 'pipe', value: create(addressApi.PipeSchema, { path }) },
  })
}

export function internalAddress(listener: string, endpointId = ''): addressApi.Address {
  return create(addressApi.AddressSchema, {
    address: {
      case: 'envoyInternalAddress',
      value: create(addressApi.EnvoyInternalAddressSchema, {
        addressNameSpecifier: { case: 'serverListenerName', value: listener },
        endpointId,
      }),
    },
  })
}

/** Per cent with four decimals, as millionths. */
export function fractionalPercent(value: number): percent.FractionalPercent {
  return create(percent.FractionalPercentSchema, {
    numerator: Math.round(Math.min(Math.max(value, 0), 100) * 10_000),
    denominator: percent.FractionalPercent_DenominatorType.MILLION,
  })
}

export interface TextMatch {
  readonly kind: 'exact' | 'prefix' | 'suffix' | 'regex'
  readonly value: string
  readonly ignoreCase?: boolean
}

export function stringMatch(match: TextMatch): stringMatcher.StringMatcher {
  const { kind, value, ignoreCase = false } = match
  return create(stringMatcher.StringMatcherSchema, {
    matchPattern:
      kind === 'regex' ? { case: 'safeRegex', value: regexOf(value) } : { case: kind, value },
    ignoreCase,
  })
}

export function regexOf(regex: string): NonNullable<regexShape> {
  return { $typeName: 'envoy.type.matcher.v3.RegexMatcher', regex, engineType: { case: undefined } }
}

type regexShape = Extract<
  stringMatcher.StringMatcher['matchPattern'],
  { case: 'safeRegex' }
>['value']

/** A message inside a typed extension. */
export function pack<S extends DescMessage>(schema: S, message: MessageShape<S>): Any {
  return anyPack(schema, message)
}

/** Bytewise order, the same on every machine: what output is sorted by. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

/** Some fields of a message, to be spread into it. */
export type Fields<Message> = Partial<Omit<Message, '$typeName' | '$unknown'>>
