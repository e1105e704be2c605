/** The query parameters that all writes share. */
import { badRequest } from '../../kube/index.ts'
import type { Exchange } from '../http/exchange.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

export interface WriteOptions {
  readonly dryRun: boolean
  readonly fieldValidation: FieldValidation
  readonly fieldManager: string | undefined
  readonly force: boolean
}

export function writeOptions(exchange: Exchange): WriteOptions {
  const { query } = exchange
  const dryRun = query.getAll('dryRun').filter((value) => value !== '')
  if (dryRun.some((value) => value !== 'All')) {
    throw badRequest(`Invalid value: "${dryRun.join(',')}": dryRun: supported values: "All"`)
  }
  const fieldValidation = query.get('fieldValidation') ?? 'Warn'
  if (!isFieldValidation(fieldValidation)) {
    throw badRequest(
      `Invalid value: "${fieldValidation}": fieldValidation: supported values: "Ignore", "Strict", "Warn"`,
    )
  }
  return {
    dryRun: dryRun.length > 0,
    fieldValidation,
    fieldManager: query.get('fieldManager') || undefined,
    force: exchange.flag('force'),
  }
}

function isFieldValidation(text: string): text is FieldValidation {
  return text === 'Strict' || text === 'Warn' || text === 'Ignore'
}

/** Who writes, for managedFields: the query parameter, else the client program's name. */
export function managerOf(exchange: Exchange, options: WriteOptions): string {
  if (options.fieldManager !== undefined) return options.fieldManager
  return (exchange.header('user-agent') ?? 'unknown').split('/')[0] ?? 'unknown'
}
