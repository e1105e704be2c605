/** Bounds on patches. */

/** Operations in one JSON patch; Kubernetes' own limit. */
export const jsonPatchMaxOperations = 10_000

/** Nesting of patches and objects, so that recursion can't exhaust the stack. */
export const maxDepth = 500

/** Managers with operation Update kept in managedFields; older ones are merged into one entry. */
export const maxUpdateManagers = 10
