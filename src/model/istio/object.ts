/** An object of configuration: who it is, how old, and its spec as the user wrote it. */
import type { Labels, ObjectRef } from '../types.ts'

export interface ConfigObject<Spec> extends ObjectRef {
  readonly labels: Labels
  readonly annotations: Labels
  /** Milliseconds; among objects that compete the oldest wins. */
  readonly createdAt: number
  readonly generation: number
  readonly spec: Spec
}
