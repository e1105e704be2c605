/** Expressions as trees. Macros are nodes of their own, so that they run as plain loops. */
import type { CelUint } from './values.ts'

export type Constant = null | boolean | bigint | number | string | Uint8Array | CelUint

export type MacroName = 'all' | 'exists' | 'exists_one' | 'filter' | 'map' | 'optMap' | 'optFlatMap'

export interface ListElement {
  readonly value: Expression
  readonly optional: boolean
}

export interface MapEntry {
  readonly key: Expression
  readonly value: Expression
  readonly optional: boolean
}

export type Expression = { readonly offset: number } & (
  | { readonly is: 'constant'; readonly value: Constant }
  | { readonly is: 'name'; readonly name: string }
  | {
      readonly is: 'select'
      readonly operand: Expression
      readonly field: string
      readonly optional: boolean
    }
  /** `has(operand.field)` */
  | { readonly is: 'has'; readonly operand: Expression; readonly field: string }
  | {
      readonly is: 'index'
      readonly operand: Expression
      readonly index: Expression
      readonly optional: boolean
    }
  | {
      readonly is: 'call'
      /** Operators have the names of the language's definition, such as `_+_`. */
      readonly name: string
      readonly target: Expression | undefined
      readonly args: readonly Expression[]
    }
  | { readonly is: 'list'; readonly elements: readonly ListElement[] }
  | { readonly is: 'map'; readonly entries: readonly MapEntry[] }
  | {
      readonly is: 'macro'
      readonly name: MacroName
      readonly range: Expression
      readonly variable: string
      /** The second of three arguments of `map`. */
      readonly filter: Expression | undefined
      readonly body: Expression
    }
)
