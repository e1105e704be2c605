/**
 * What the author of an object should be told: a part of it that was left out, or that a stock
 * Envoy can't do. The rest of the object keeps its effect.
 */
import type { ConfigObject } from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'

export interface Problem {
  /** API path of the object; undefined: MeshConfig. */
  readonly config: string | undefined
  /** The field inside it, as `/spec/rules/0`. */
  readonly path: string
  /** What is wrong and what to do about it. */
  readonly message: string
}

export function problemOf(object: ConfigObject<unknown>, path: string, message: string): Problem {
  return { config: configPath(object), path, message }
}

export function meshProblem(path: string, message: string): Problem {
  return { config: undefined, path, message }
}
