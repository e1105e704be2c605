/** Bounds on what schemas and objects may make us do. */

/** Complaints about one object; after that many, more of them help nobody. */
export const maxFieldErrors = 100

/** Nesting of objects that is followed. */
export const maxDepth = 500

/** Compiled patterns kept; the bundles have about 150 different ones. */
export const maxCompiledPatterns = 2000

/** Cost of all rules for one object together, as in the Kubernetes API; ten runs at their limit. */
export const maxRulesCost = 10_000_000

/** Longest message that a `messageExpression` may make. */
export const maxRuleMessageLength = 5 * 1024
