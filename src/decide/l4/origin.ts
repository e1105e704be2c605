/** Which object of the user a policy was made from, as the control plane notes it in an extension. */
import { fromBinary, StructSchema, type security, toJson } from '../../proto/index.ts'
import type { L4Origin } from './types.ts'

/** The control plane's name for it; other control planes send none. */
const extensionName = 'weft.provenance'

/** @param rule index in the policy as received; -1: none */
export function originOf(policy: security.Authorization, rule: number): L4Origin | undefined {
  const extension = policy.extensions.find(({ name }) => name === extensionName)
  if (extension?.config === undefined) return undefined
  const note = readStruct(extension.config.value)
  const { config, rules } = note as { config?: unknown; rules?: unknown }
  if (typeof config !== 'string') return undefined
  // Rules which only a proxy of layer 7 can enforce are not sent, so the indexes differ.
  const original: unknown = Array.isArray(rules) && rule >= 0 ? rules[rule] : undefined
  return typeof original === 'number' ? { config, rule: original } : { config }
}

function readStruct(bytes: Uint8Array): object {
  try {
    const value = toJson(StructSchema, fromBinary(StructSchema, bytes))
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    // A note that can't be read explains nothing, but the policy stands.
    return {}
  }
}
