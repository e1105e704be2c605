/** Bounds that validation holds objects to; they are Istio's and DNS's own. */
export const limits = {
  labelLength: 63,
  domainLength: 255,
  /** RE2 programs are larger than their text; longer ones would be refused by Envoy. */
  regexLength: 1024,
  directResponseErrorBytes: 1024 * 1024,
  directResponseWarnBytes: 100 * 1024,
  /** Exclusive: the largest table that Envoy builds for Maglev. */
  maglevTableSize: 5_000_011,
  jwksUriLength: 2048,
  authorizationRules: 512,
  wasmEnvironmentNameLength: 256,
  pluginNameLength: 256,
  pullSecretLength: 253,
  luaBytes: 64 * 1024,
  /** Rules of a VirtualService whose prefixes are compared with each other: the work is quadratic. */
  comparedPrefixes: 2000,
} as const
