/** What the store's main half and its worker say to each other. */
import type { Change, Durability, StoredObject, StoreStats } from './store.ts'

export interface WorkerOptions {
  readonly path: string
  /** Size of the file beyond which writes fail as on a full disk. */
  readonly fileBytesMax: number
  readonly rowsPerMessage: number
}

export type Request =
  | { readonly id: number; readonly do: 'open' }
  | {
      readonly id: number
      readonly do: 'commit'
      readonly changes: readonly Change[]
      readonly revision: number
      readonly durability: Durability
    }
  | { readonly id: number; readonly do: 'backup'; readonly path: string }
  | { readonly id: number; readonly do: 'compact' }
  | { readonly id: number; readonly do: 'stats' }
  | { readonly id: number; readonly do: 'close' }

export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
}

export type Reply =
  | { readonly objects: readonly StoredObject[] }
  | { readonly id: number; readonly result: number | StoreStats | undefined }
  | { readonly id: number; readonly failure: Failure }
