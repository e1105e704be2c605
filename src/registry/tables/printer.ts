/** Tables: which columns `kubectl get` shows for a kind, and how a row's cells are made. */
import type { ResourceType } from '../resource-type.ts'
import { age, type Cells, type Column, type Printer } from './cells.ts'
import { customPrinter } from './custom.ts'
import { networkPrinters } from './network.ts'
import { podPrinters } from './pods.ts'
import { policyPrinters } from './policies.ts'
import { resourcePrinters } from './resources.ts'
import { storagePrinters } from './storage.ts'
import { workloadPrinters } from './workloads.ts'

const numeric = new Set([
  'Allowed Disruptions',
  'Available',
  'Count',
  'Current',
  'Data',
  'Active',
  'Desired',
  'MaxPods',
  'Replicas',
  'Revision',
  'Secrets',
  'Up-to-date',
  'Value',
  'Webhooks',
])

const builtin: Readonly<Record<string, Cells>> = {
  ...podPrinters,
  ...workloadPrinters,
  ...networkPrinters,
  ...resourcePrinters,
  ...policyPrinters,
  ...storagePrinters,
}

const made = new Map<Cells, Printer>()
const custom = new WeakMap<ResourceType, Printer>()

/** Kinds without columns of their own show name and age. */
const generic: Cells = { Age: age }

export function printerOf(type: ResourceType): Printer {
  if (type.custom !== undefined) {
    let printer = custom.get(type)
    if (printer === undefined) {
      printer = customPrinter(type.custom.columns)
      custom.set(type, printer)
    }
    return printer
  }
  const cells = builtin[`${type.group}/${type.resource}`] ?? generic
  let printer = made.get(cells)
  if (printer === undefined) {
    printer = printerOfCells(cells)
    made.set(cells, printer)
  }
  return printer
}

function printerOfCells(cells: Cells): Printer {
  const named = 'Name*' in cells || 'Name' in cells ? [] : [column('Name', 0)]
  const columns = Object.keys(cells).map((key) =>
    key.endsWith('*') ? column(key.slice(0, -1), 1) : column(key, 0),
  )
  const makers = Object.values(cells)
  return {
    columns: [...named, ...columns],
    cells: (object, now) => [
      ...(named.length === 0 ? [] : [object.metadata.name]),
      ...makers.map((make) => make(object, now)),
    ],
  }
}

function column(name: string, priority: number): Column {
  return {
    name,
    type: numeric.has(name) ? 'integer' : 'string',
    format: name === 'Name' ? 'name' : '',
    description: '',
    priority,
  }
}
