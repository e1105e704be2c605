/** Kubernetes object shapes, names, selectors and Status objects; no I/O. */
export * from './types.ts'
