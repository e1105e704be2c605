/** `broker.json`: who runs the mesh and where it listens; for `status` and for people. */
import { readStateFile, writeStateFile } from './files.ts'
import type { MeshPaths } from './paths.ts'

export interface ListenerRecord {
  /** `registry`, `ingress` or `service NAMESPACE/NAME:PORT`. */
  readonly name: string
  /** On 127.0.0.1 of the host. */
  readonly port: number
}

export interface BrokerRecord {
  readonly name: string
  readonly pid: number
  readonly uid: number
  readonly mode: 'root' | 'rootless'
  readonly version: string
  readonly startedAt: string
  readonly listeners: readonly ListenerRecord[]
}

export function writeBrokerRecord(paths: MeshPaths, record: BrokerRecord): void {
  writeStateFile(paths.brokerRecord, `${JSON.stringify(record, null, 2)}\n`)
}

/** Undefined when there is none or it was cut off by a crash. */
export function readBrokerRecord(paths: MeshPaths): BrokerRecord | undefined {
  const text = readStateFile(paths.brokerRecord)
  if (text === undefined) return undefined
  try {
    // Our own file; its writer is above.
    return JSON.parse(text) as BrokerRecord
  } catch {
    return undefined
  }
}
