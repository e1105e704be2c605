/** The expression language CEL: a type checker, an evaluator that counts cost, and libraries. */
export type { Variable } from './compiler.ts'
export { CelEnvironment, type Outcome, Program } from './environment.ts'
export { CelCompileError, CelCostError, CelError } from './errors.ts'
export { type Extent, estimateCost } from './estimate.ts'
export { valueOfJson } from './json.ts'
export { parseDuration, parseTimestamp } from './library/time.ts'
export { type FunctionDeclaration, fn, type Library, method, parsingCost } from './library.ts'
export { maxEvaluationCost } from './limits.ts'
export { kubernetesLibraries, standardLibraries } from './standard.ts'
export {
  listType,
  mapType,
  objectType,
  opaqueType,
  optionalType,
  type Type,
  types,
  typeText,
} from './types.ts'
export {
  CelDuration,
  type CelList,
  CelOpaque,
  CelOptional,
  CelTimestamp,
  CelType,
  CelUint,
  type ListTraits,
  none,
  type Value,
} from './values.ts'
