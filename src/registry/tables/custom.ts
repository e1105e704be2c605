/** Rows of custom resources: the columns that their definition names. */
import type { KubeObject } from '../../kube/index.ts'
import type { PrinterColumn } from '../resource-type.ts'
import { isMap } from '../values.ts'
import { age, ageOf, type Printer } from './cells.ts'
import { compileJsonPath } from './json-path.ts'

export function customPrinter(columns: readonly PrinterColumn[]): Printer {
  const own = columns.map((column) => ({ column, find: compileJsonPath(column.jsonPath) }))
  const name = { name: 'Name', type: 'string', format: 'name', description: '', priority: 0 }
  if (own.length === 0) {
    return {
      columns: [name, { ...name, name: 'Age', format: '' }],
      cells: (object, now) => [object.metadata.name, age(object, now)],
    }
  }
  return {
    columns: [
      name,
      ...columns.map((column) => ({
        name: column.name,
        // Dates are turned into ages here, so the client must not format them again.
        type: column.type === 'date' ? 'string' : column.type,
        format: column.format ?? '',
        description: column.description ?? '',
        priority: column.priority ?? 0,
      })),
    ],
    cells: (object, now) => [
      object.metadata.name,
      ...own.map(({ column, find }) => cell(column, find?.(object) ?? [], object, now)),
    ],
  }
}

function cell(column: PrinterColumn, values: unknown[], object: KubeObject, now: number): unknown {
  const [first] = values
  if (column.type === 'date') {
    if (column.jsonPath === '.metadata.creationTimestamp') return age(object, now)
    return first === undefined ? null : ageOf(first, now)
  }
  if (first === undefined || first === null) return null
  if (column.type === 'string') {
    if (values.length > 1) return values.map(cellText).join(',')
    return cellText(first)
  }
  return first
}

function cellText(value: unknown): string {
  return Array.isArray(value) || isMap(value) ? JSON.stringify(value) : String(value)
}
