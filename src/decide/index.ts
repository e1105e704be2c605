/**
 * The one evaluator: proxies call it to enforce, `explain`, `test` and `verify` to answer. Pure.
 */
export * from './l4/index.ts'
