/** StringMatch of VirtualService. */
import type { StringMatch } from '../../../model/index.ts'
import type { TextMatch } from '../values.ts'

/** Undefined for an empty one: whatever is there will do. */
export function textMatch(match: StringMatch | undefined): TextMatch | undefined {
  if (match?.exact !== undefined && match.exact !== '') return { kind: 'exact', value: match.exact }
  if (match?.prefix !== undefined && match.prefix !== '') {
    return { kind: 'prefix', value: match.prefix }
  }
  if (match?.regex !== undefined && match.regex !== '' && match.regex !== '*') {
    return { kind: 'regex', value: match.regex }
  }
  return undefined
}
