/** For tests: one environment, and values as plain text. */
import type { Variable } from './compiler.ts'
import { CelEnvironment } from './environment.ts'
import { CelCompileError } from './errors.ts'
import { durationText, timestampText } from './library/time.ts'
import { kubernetesLibraries } from './standard.ts'
import {
  CelDuration,
  CelOptional,
  CelTimestamp,
  CelType,
  CelUint,
  isList,
  isMap,
  typeName,
  type Value,
} from './values.ts'

export const environment = new CelEnvironment(kubernetesLibraries)

/** A value as the language writes it, near enough. */
export function show(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') return Number.isInteger(value) ? `${value}.0` : String(value)
  if (typeof value !== 'object' || value === null) return String(value)
  if (isList(value)) return `[${value.map(show).join(', ')}]`
  if (isMap(value)) return `{${[...value].map((pair) => pair.map(show).join(': ')).join(', ')}}`
  if (value instanceof CelUint) return `${value.value}u`
  if (value instanceof CelDuration) return durationText(value)
  if (value instanceof CelTimestamp) return timestampText(value)
  if (value instanceof CelType) return value.name
  if (value instanceof Uint8Array) return `b"${Buffer.from(value).toString('hex')}"`
  if (value instanceof CelOptional) {
    return value.content === undefined ? 'none' : `some(${show(value.content)})`
  }
  return typeName(value)
}

/** What an expression gives: its value, `error: ...`, or `compile: ...` with the first line only. */
export function result(
  source: string,
  variables: readonly (Variable & { readonly value: Value })[] = [],
): string {
  try {
    const program = environment.compile(source, variables)
    const outcome = program.evaluate(variables.map(({ value }) => value))
    return outcome.error === undefined ? show(outcome.value) : `error: ${outcome.error.message}`
  } catch (thrown) {
    if (!(thrown instanceof CelCompileError)) throw thrown
    return `compile: ${thrown.message.split('\n')[0]?.replace('ERROR: <input>:', '')}`
  }
}
