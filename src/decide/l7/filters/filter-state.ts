/** Objects of the filter state, written from texts with command operators. */
import { filterStateValue as api, type setFilterState } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange, StateValue } from '../exchange.ts'
import { compileFormatString } from '../headers/format.ts'
import type { HttpFilter } from './filter.ts'

export type StateSetter = (exchange: Exchange) => void

const sharing: Readonly<Record<number, StateValue['shared']>> = {
  [api.FilterStateValue_SharedWithUpstream.NONE]: 'none',
  [api.FilterStateValue_SharedWithUpstream.ONCE]: 'once',
  [api.FilterStateValue_SharedWithUpstream.TRANSITIVE]: 'transitive',
}

export function compileStateValues(
  values: readonly api.FilterStateValue[],
  place: Place,
): StateSetter {
  const setters = values.map((value, index) => compileValue(value, place.at('values', index)))
  return (exchange) => {
    for (const set of setters) set(exchange)
  }
}

function compileValue(message: api.FilterStateValue, place: Place): StateSetter {
  const key = message.key.value ?? ''
  if (key === '') place.at('object_key').refuse('an object without a key')
  const at = place.at('format_string')
  const format =
    message.value.case === 'formatString' ? compileFormatString(message.value.value, at) : undefined
  if (format === undefined) {
    at.refuse('a value without a format')
    return () => undefined
  }
  const factory = message.factoryKey === '' ? key : message.factoryKey
  const shared = sharing[message.sharedWithUpstream] ?? 'none'
  return (exchange) => {
    const value = format(exchange, undefined)
    if (value === '' && message.skipIfEmpty) return
    exchange.setFilterState(key, { value, factory, shared })
  }
}

export function compileSetFilterState(
  name: string,
  message: setFilterState.Config,
  place: Place,
): HttpFilter {
  const configured = compileStateValues(message.onRequestHeaders, place.at('on_request_headers'))
  return {
    name,
    run: (exchange) => {
      const override = exchange.override(name)?.config
      if (override?.kind === 'filter-state') override.set(exchange)
      else configured(exchange)
      return undefined
    },
  }
}
