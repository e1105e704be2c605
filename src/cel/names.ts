/** Names in expressions and in messages about them. */
import type { Expression } from './ast.ts'
import { CelUint, typeName, type Value } from './values.ts'

/** `a.b.c` when an expression is only names, else undefined. */
export function qualifiedName(expression: Expression): string | undefined {
  if (expression.is === 'name') return expression.name
  if (expression.is !== 'select' || expression.optional) return undefined
  const operand = qualifiedName(expression.operand)
  return operand === undefined ? undefined : `${operand}.${expression.field}`
}

/** A key of a map as messages show it. */
export function keyText(key: Value): string {
  if (key instanceof CelUint) return String(key.value)
  return typeof key === 'object' ? typeName(key) : String(key)
}
