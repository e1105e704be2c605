/** Command operators: literals, and values with something to say when there is none. */

/** Text that stands for itself. */
export function literal(text: string): string {
  return text.replaceAll('%', '%%')
}

/** An operator with its parameter: `UPSTREAM_METADATA`, `istio.peer:workload`. */
export type Operator = readonly [command: string, param?: string]

/** The first operator that yields a value; `unknown` when none does. */
export function orUnknown(...operators: readonly Operator[]): string {
  const all: readonly Operator[] = [...operators, ['CEL', "'unknown'"]]
  const steps = all.map(([command, param]) =>
    param === undefined ? { command } : { command, param },
  )
  return `%COALESCE(${JSON.stringify({ operators: steps })})%`
}
