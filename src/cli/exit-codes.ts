/** Exit codes, for scripts. */
export const exitCodes = {
  ok: 0,
  /** Something went wrong; the message says what. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** `status`: there is no such mesh, or it is down. */
  notRunning: 3,
  /** The machine lacks something that the message names. */
  prerequisites: 4,
  /** `run`: there is no such program on this machine. */
  noProgram: 127,
  interrupted: 130,
} as const
