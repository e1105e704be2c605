/**
 * Complaints about one field of an object, in the words of Kubernetes' validation. Each is also a
 * cause of a 422 Status.
 */
import type { StatusCause } from './types.ts'

/** A cause that always has a field. `message` is complete: `Invalid value: "x": why`. */
export interface FieldError extends StatusCause {
  readonly field: string
}

const shownValueMaxLength = 1024

function shown(value: unknown): string {
  if (value === undefined) return 'null'
  const text = JSON.stringify(value)
  return text.length > shownValueMaxLength ? `${text.slice(0, shownValueMaxLength)}...` : text
}

/** The value has the right type but isn't acceptable. */
export function fieldInvalid(field: string, value: unknown, detail: string): FieldError {
  return {
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${shown(value)}${detail === '' ? '' : `: ${detail}`}`,
    field,
  }
}

/** The value has the wrong type; `shownAs` is what upstream shows for it: the found type. */
export function fieldTypeInvalid(field: string, shownAs: unknown, detail: string): FieldError {
  return { ...fieldInvalid(field, shownAs, detail), reason: 'FieldValueTypeInvalid' }
}

/** The field must be there. */
export function fieldRequired(field: string, detail = ''): FieldError {
  return {
    reason: 'FieldValueRequired',
    message: `Required value${detail === '' ? '' : `: ${detail}`}`,
    field,
  }
}

/** The value isn't one of a fixed set. */
export function fieldNotSupported(
  field: string,
  value: unknown,
  supported: readonly unknown[],
): FieldError {
  return {
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${shown(value)}: supported values: ${supported.map(shown).join(', ')}`,
    field,
  }
}

/** The same value, or the same key, is in the list already. */
export function fieldDuplicate(field: string, value: unknown): FieldError {
  return { reason: 'FieldValueDuplicate', message: `Duplicate value: ${shown(value)}`, field }
}

/** The field may not be set, or may not change. */
export function fieldForbidden(field: string, detail: string): FieldError {
  return { reason: 'FieldValueForbidden', message: `Forbidden: ${detail}`, field }
}

/** What the field refers to isn't there. */
export function fieldNotFound(field: string, value: unknown): FieldError {
  return { reason: 'FieldValueNotFound', message: `Not found: ${shown(value)}`, field }
}

/** A text over its limit. */
export function fieldTooLong(field: string, maxBytes: number): FieldError {
  return {
    reason: 'FieldValueTooLong',
    message: `Too long: may not be more than ${maxBytes} bytes`,
    field,
  }
}

/** A list or map over its limit. */
export function fieldTooMany(field: string, count: number, max: number): FieldError {
  return {
    reason: 'FieldValueTooMany',
    message: `Too many: ${count}: must have at most ${max} items`,
    field,
  }
}
