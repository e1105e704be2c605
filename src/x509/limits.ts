/** Bounds of what is read from peers, each with its reason. */
export const limits = {
  /** Real certificates have 1 to 4 KiB; peers send them before they are authenticated. */
  certificateBytesMax: 64 * 1024,
  /** A certificate request is smaller still. */
  csrBytesMax: 32 * 1024,
  /** Operators' lists, of some tens of thousands of entries. */
  crlBytesMax: 1024 * 1024,
  /** Names in one certificate. */
  sansMax: 256,
  /** A SPIFFE id has at most this many characters (SPIFFE specification). */
  uriCharactersMax: 2048,
  /** Certificates in one PEM bundle. */
  bundleCertificatesMax: 1000,
  /** Smaller RSA keys are refused in requests. */
  rsaBitsMin: 2048,
} as const
