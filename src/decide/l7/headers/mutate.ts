/**
 * Changes of headers: first what goes, then what replaces, then what is appended, as in Envoy. Values are
 * all computed before any is set, so that changes of one list do not see each other.
 */
import { core } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { HeaderOperation, ResponseFacts } from '../types.ts'
import { compileFormat, type Format } from './format.ts'

export interface Mutation {
  request(exchange: Exchange): void
  response(exchange: Exchange, response: ResponseFacts): readonly HeaderOperation[]
}

interface Added {
  readonly name: string
  readonly value: Format
  readonly keepEmpty: boolean
  readonly action: core.HeaderValueOption_HeaderAppendAction
}

const actions = core.HeaderValueOption_HeaderAppendAction

/** Undefined when there is nothing to change. */
export function compileMutation(
  add: readonly core.HeaderValueOption[],
  remove: readonly string[],
  places: { readonly add: Place; readonly remove: Place },
): Mutation | undefined {
  if (add.length === 0 && remove.length === 0) return undefined
  const removed = remove.map((name, index): HeaderOperation => {
    if (isPseudo(name)) places.remove.at('', index).refuse(`${name} can't be removed`)
    return { kind: 'remove', name: name.toLowerCase() }
  })
  const added = add.flatMap((option, index) => compileOption(option, places.add.at('', index)))
  return new ListMutation(removed, added)
}

function isPseudo(name: string): boolean {
  return name === '' || name.startsWith(':') || name.toLowerCase() === 'host'
}

function compileOption(option: core.HeaderValueOption, place: Place): Added[] {
  const { header, append, appendAction, keepEmptyValue } = option
  const name = header?.key.toLowerCase() ?? ''
  if (header === undefined || isPseudo(name)) {
    place.at('header.key').refuse(`'${name}' can't be changed`)
    return []
  }
  if (append !== undefined && appendAction !== actions.APPEND_IF_EXISTS_OR_ADD) {
    place.refuse('both append and append_action are set')
  }
  const raw = header.value === '' ? new TextDecoder().decode(header.rawValue) : header.value
  return [
    {
      name,
      value: compileFormat(raw, '', place.at('header.value')),
      keepEmpty: keepEmptyValue,
      action: append === false ? actions.OVERWRITE_IF_EXISTS_OR_ADD : appendAction,
    },
  ]
}

class ListMutation implements Mutation {
  readonly #removed: readonly HeaderOperation[]
  readonly #added: readonly Added[]

  constructor(removed: readonly HeaderOperation[], added: readonly Added[]) {
    this.#removed = removed
    this.#added = added
  }

  request(exchange: Exchange): void {
    for (const operation of this.#removed) exchange.change(operation)
    const has = (name: string): boolean => exchange.header(name) !== undefined
    for (const operation of this.#additions(exchange, undefined, has)) exchange.change(operation)
  }

  response(exchange: Exchange, response: ResponseFacts): readonly HeaderOperation[] {
    const gone = new Set(this.#removed.map(({ name }) => name))
    const has = (name: string): boolean =>
      !gone.has(name) && response.headers.get(name) !== undefined
    return [...this.#removed, ...this.#additions(exchange, response, has)]
  }

  #additions(
    exchange: Exchange,
    response: ResponseFacts | undefined,
    has: (name: string) => boolean,
  ): HeaderOperation[] {
    const replaced: HeaderOperation[] = []
    const appended: HeaderOperation[] = []
    for (const { name, value: format, keepEmpty, action } of this.#added) {
      const value = clean(format(exchange, response))
      if (value === '' && !keepEmpty) continue
      if (action === actions.APPEND_IF_EXISTS_OR_ADD) appended.push({ kind: 'add', name, value })
      else if (action === actions.OVERWRITE_IF_EXISTS_OR_ADD) {
        replaced.push({ kind: 'set', name, value })
      } else if (has(name) === (action === actions.OVERWRITE_IF_EXISTS)) {
        if (action === actions.OVERWRITE_IF_EXISTS) replaced.push({ kind: 'set', name, value })
        else appended.push({ kind: 'add', name, value })
      }
    }
    return [...replaced, ...appended]
  }
}

/** Nothing that a client sent may begin a header of its own. */
function clean(value: string): string {
  return /[\r\n\0]/.test(value) ? value.replaceAll(/[\r\n\0]/g, '') : value
}
