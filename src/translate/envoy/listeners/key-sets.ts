/** Key sets as listeners see them: which of them a listener used is one of its dependencies. */
import type { Reader } from '../../reader.ts'
import type { KeySets } from '../policies/request-authentication.ts'

/** The dependency of whatever was made with the set of a source, or without one. */
export function keySetDependency(source: string): string {
  return `jwks/${source}`
}

export class RecordedKeySets extends Map<string, string> implements KeySets {
  readonly #reader: Reader
  readonly #sets: KeySets

  constructor(reader: Reader, sets: KeySets) {
    super()
    this.#reader = reader
    this.#sets = sets
  }

  override get(source: string): string | undefined {
    this.#reader.depend(keySetDependency(source))
    return this.#sets.get(source)
  }
}
