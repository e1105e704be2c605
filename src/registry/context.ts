/** What the verbs work with: made once by the composition root, handed to each of them. */
import type { Clock, Logger } from '../base/index.ts'
import type { SchemaRegistry } from '../schema/index.ts'
import type { Admission } from './admission/admission.ts'
import type { Authorizer } from './auth/rbac.ts'
import type { Catalogue } from './catalogue.ts'
import type { ObjectStore } from './store/objects.ts'
import type { Watch } from './verbs/watch.ts'

export interface VerbContext {
  readonly store: ObjectStore
  readonly catalogue: Catalogue
  readonly schemas: SchemaRegistry
  readonly admission: Admission
  readonly authorizer: Authorizer
  readonly clock: Clock
  readonly logger: Logger
  /** A number from 0 to 1. */
  readonly random: () => number
  readonly open: Set<Watch>
}
