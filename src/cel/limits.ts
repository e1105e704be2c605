/** Bounds on what an expression may cost before and while it runs. */

/** Longest text of one expression; the longest rule of Gateway API has 3,000 characters. */
export const maxExpressionLength = 32_768

/** Nesting of an expression; each level is a few stack frames when it runs. */
export const maxExpressionDepth = 400

/**
 * Cost of one evaluation: about one unit for each step, plus a tenth for each character that a
 * function reads. It is the limit of the Kubernetes API; here it takes 20 to 100 ms on one core.
 */
export const maxEvaluationCost = 1_000_000

/** Different regular expressions that are kept compiled; those of rules are compiled with the rule. */
export const maxCompiledExpressions = 500

/** Cost of reading one character of a text, one element of a list while it is traversed. */
export const costPerCharacter = 0.1

/** The same for regular expressions, which go through a text slowly to be safe from bad patterns. */
export const matchingCostPerCharacter = 0.3

/** Extra cost of an error that is absorbed; making one takes as long as ten steps. */
export const costOfError = 10

/** Extra cost of making a value out of a text: an address, a URL, a quantity. */
export const costOfParsing = 5

/** Extra cost of each character in which `findAll` looks: each may be a match, and so an element. */
export const costPerMatch = 5

/** Extra cost of a time zone that is named, since its rules must be looked up. */
export const costOfTimeZone = 500

/** Longest regular expression, as in Google's implementation against memory exhaustion. */
export const maxPatternLength = 10_000
