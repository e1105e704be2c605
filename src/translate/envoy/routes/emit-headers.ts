/** Changes of headers as Envoy's. */
import { core } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { HeaderChange } from './ir.ts'

export function headerOptions(changes: readonly HeaderChange[]): core.HeaderValueOption[] {
  const actions = core.HeaderValueOption_HeaderAppendAction
  return changes
    .filter(({ kind }) => kind !== 'remove')
    .map(({ kind, name, value }) =>
      create(core.HeaderValueOptionSchema, {
        header: create(core.HeaderValueSchema, { key: name, value }),
        appendAction:
          kind === 'set' ? actions.OVERWRITE_IF_EXISTS_OR_ADD : actions.APPEND_IF_EXISTS_OR_ADD,
        // An empty value is a value.
        keepEmptyValue: value === '',
      }),
    )
}

export function removals(changes: readonly HeaderChange[]): string[] {
  return changes.flatMap(({ kind, name }) => (kind === 'remove' ? [name] : []))
}
