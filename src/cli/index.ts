/** The command line. */
export { createProgram, main } from './app.ts'
export type { CommandContext } from './context.ts'
export * from './kubectl-tool.ts'
