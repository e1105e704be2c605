/** Conditions as this control plane wants them; time and generation are the writer's. */

export interface WantedCondition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/** Why something does not hold, as users read it. */
export interface Fault {
  readonly reason: string
  readonly message: string
}

/** A condition that should be True; a fault makes it False and gives the reason. */
export function condition(type: string, good: Fault, fault?: Fault): WantedCondition {
  const { reason, message } = fault ?? good
  return { type, status: fault === undefined ? 'True' : 'False', reason, message }
}

export const noErrors = 'No errors found'

/** `a`, `a and b`, `a, b, and c`. */
export function readableList(items: readonly string[]): string {
  if (items.length < 3) return items.join(' and ')
  return `${items.slice(0, -1).join(', ')}, and ${items.at(-1)}`
}
