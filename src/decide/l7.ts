/** The door to layer 7: decisions from Envoy's resources. */
export * from './l7/index.ts'
