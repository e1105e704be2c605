/** Bounds on what an expression may cost before and while it runs. */

/** Longest text of one expression; the longest rule of Gateway API has 3,000 characters. */
export const maxExpressionLength = 32_768

/** Nesting of an expression; each level is a few stack frames when it runs. */
export const maxExpressionDepth = 400

/**
 * Cost of one evaluation: about one unit for each step, plus a tenth for each character that a
 * function reads. It is the limit of the Kubernetes API; here it takes about 50 ms at worst.
 */
export const maxEvaluationCost = 1_000_000

/** Different regular expressions that are kept compiled; those of rules are compiled with the rule. */
export const maxCompiledExpressions = 500

/** Cost of reading one character of a text, one element of a list while it is traversed. */
export const costPerCharacter = 0.1

/** Longest regular expression, as in Google's implementation against memory exhaustion. */
export const maxPatternLength = 10_000
