/** The agent beside a stock Envoy. */
export { runAgent } from './run.ts'
