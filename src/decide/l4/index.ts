/** Layer 4 authorization (reference: ambient, RBAC evaluation). */
export { createL4Engine, type L4Engine } from './engine.ts'
export type {
  L4Considered,
  L4Decision,
  L4DryRun,
  L4Identity,
  L4Miss,
  L4Options,
  L4Origin,
  L4Reason,
  L4Request,
  L4Verdict,
} from './types.ts'
