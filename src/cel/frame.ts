/** What compiled expressions run on: variables in slots, and the cost that is left. */
import { CelCostError } from './errors.ts'
import type { Value } from './values.ts'

export interface Frame {
  /** Variables, then those of macros. */
  readonly slots: (Value | undefined)[]
  left: number
}

export type Run = (frame: Frame) => Value

/** Takes `cost` from what is left; throws when nothing is. */
export function charge(frame: Frame, cost: number): void {
  frame.left -= cost
  if (frame.left < 0) throw new CelCostError()
}
