/** What the compiled configuration may hold. */
export const limits = {
  /** Problems reported for one resource: a NACK is read by people. */
  problems: 16,
  /** Envoy's default for the body of a direct response, where the configuration names none. */
  directResponseBodyBytes: 4096,
  /** Routes from which on a virtual host gets an index; below it walking them is as fast. */
  indexedRoutes: 8,
  /** Rejected routes that an explanation names: the nearest ones. */
  explainedRoutes: 50,
  /** Tokens a provider remembers as verified, so that a signature is checked once. */
  verifiedTokens: 512,
  /** Longest token that is looked at (Envoy's limit of its token cache). */
  tokenBytes: 16_384,
  /** Letters of the path in a challenge (`www-authenticate`), as in Envoy. */
  realmPath: 256,
  /** Largest ring, Envoy's default. */
  ringEntries: 8 * 1024 * 1024,
  /** Largest Maglev table, Envoy's limit. */
  maglevEntries: 5_000_011,
  /** How deep matchers may be nested: beyond it a resource is hostile, not written. */
  nesting: 64,
  /** Cost of a CEL condition for one request. */
  conditionCost: 10_000,
} as const
