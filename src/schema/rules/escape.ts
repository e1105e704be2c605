/**
 * Names of fields in rules. Expressions know only identifiers, so Kubernetes writes the other
 * characters of a field's name as words between double underscores.
 */

const reserved = new Set(
  (
    'true false null in as break const continue else for function if import let loop package ' +
    'namespace return var void while'
  ).split(' '),
)

const words: Record<string, string> = {
  __: '__underscores__',
  '.': '__dot__',
  '-': '__dash__',
  '/': '__slash__',
}

/**
 * Other ways to write a field: newer API servers take reserved words, which are only reserved where
 * a variable could stand, as they are (`self.namespace`); Gateway API's own rules use both forms.
 */
export function plainName(name: string): string | undefined {
  return reserved.has(name) && !['true', 'false', 'null', 'in'].includes(name) ? name : undefined
}

/** A field's name as rules write it; undefined for names that rules can't write. */
export function escapeName(name: string): string | undefined {
  if (reserved.has(name)) return `__${name}__`
  if (!/^[A-Za-z_.\-/][A-Za-z0-9_.\-/]*$/.test(name)) return undefined
  if (!/__|[.\-/]/.test(name)) return name
  const escaped = name.replaceAll(/__|[.\-/]/g, (found) => words[found] ?? found)
  return /^[A-Za-z_]/.test(escaped) ? escaped : undefined
}
