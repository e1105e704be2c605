/** Bounds of init, each with its reason. */
export const limits = {
  /** The mesh's own parts and the samples must be up by then; slow machines (Raspberry Pi) included. */
  readyDeadlineMs: 180_000,
  /** How often the user is told what is still missing. */
  readyNotePeriodMs: 2_000,
} as const
