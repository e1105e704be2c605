/**
 * The one evaluator: proxies call it to enforce, `explain`, `test` and `verify` to answer. Pure. Layer 7 is behind a
 * second door, `l7.ts`: it needs Envoy's messages, whose memory a node proxy has no use for.
 */
export * from './l4/index.ts'
