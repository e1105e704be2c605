/** What every room may use: errors, time, logging, life cycle, addresses. */
export * from './backoff.ts'
export * from './clock.ts'
export * from './component.ts'
export * from './duration.ts'
export * from './errors.ts'
export * from './ip.ts'
export * from './logger.ts'
export * from './seams.ts'
