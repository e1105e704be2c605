/** The delta xDS client of the data plane. */
export { createDeltaClient, type DeltaClient } from './client.ts'
export type { DeltaClientOptions, DeltaType, XdsNode } from './types.ts'
