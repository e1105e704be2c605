/** The patch formats of the Kubernetes API: JSON, merge, strategic merge and server-side apply; pure. */
export { type JsonPatchOperation, jsonPatch } from './json-patch.ts'
export { managedFieldsOf, trackUpdate, type UpdateOptions } from './managed-fields.ts'
export { mergePatch } from './merge-patch.ts'
export { type ApplyOptions, type ApplyResult, applyServerSide } from './server-side-apply.ts'
export { strategicMergePatch } from './strategic-merge.ts'
export type { RepeatedItem } from './typed-values.ts'
