/**
 * What is wrong with a resource: collected while compiling, so that one answer names all of it. The texts
 * become the NACK that the control plane gets.
 */
import { MeshError } from '../../base/index.ts'
import { limits } from './limits.ts'

export interface CompileError {
  /** `listener web`, `route http.80` ... */
  readonly resource: string
  /** Where in it, in the names of the protocol: `virtual_hosts[0].routes[2].match.safe_regex`. */
  readonly field: string
  readonly message: string
}

/** A compiled resource, or why it is refused as a whole. */
export type Compiled<T> =
  | { readonly value: T; readonly errors?: undefined }
  | { readonly value?: undefined; readonly errors: readonly CompileError[] }

/** A place in a resource. Places share one list of problems. */
export class Place {
  readonly resource: string
  readonly path: string
  readonly #problems: CompileError[]

  private constructor(resource: string, path: string, problems: CompileError[]) {
    this.resource = resource
    this.path = path
    this.#problems = problems
  }

  /** @param resource kind and name, for people */
  static of(resource: string): Place {
    return new Place(resource, '', [])
  }

  /** A field, or an element of it; without a name, an element of this one. */
  at(field: string, key?: number | string): Place {
    const name = key === undefined ? field : `${field}[${key}]`
    const dot = this.path === '' || field === '' ? '' : '.'
    const path = `${this.path}${dot}${name}`
    return new Place(this.resource, path, this.#problems)
  }

  /** Notes that what is here can't be done as written. */
  refuse(message: string): void {
    if (this.#problems.length >= limits.problems) return
    this.#problems.push({ resource: this.resource, field: this.path, message })
  }

  get failed(): boolean {
    return this.#problems.length > 0
  }

  /** The value, unless anything was refused. */
  finish<T>(value: T): Compiled<T> {
    return this.#problems.length === 0 ? { value } : { errors: this.#problems }
  }
}

/** The text of a NACK. */
export function nackText(errors: readonly CompileError[]): string {
  return errors
    .map(({ resource, field, message }) => `${resource}: ${field}: ${message}`)
    .join('\n')
}

/** For callers that throw: the value, or an error that says what was refused. */
export function compiledOrThrow<T>(compiled: Compiled<T>): T {
  if (compiled.errors === undefined) return compiled.value
  throw new MeshError('L7_CONFIG_REFUSED', nackText(compiled.errors), {
    hint: 'The last configuration that worked stays. Use the Envoy engine for what is not supported.',
  })
}
