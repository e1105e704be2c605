/** Bounds on names and texts. They are Kubernetes' own: clients and other controllers rely on them. */

/** A DNS label (RFC 1123): one segment of a host name. */
export const dnsLabelMaxLength = 63

/** A DNS subdomain: a whole host name. */
export const dnsSubdomainMaxLength = 253

/** The part of a label key after the slash, and a label's value. */
export const labelPartMaxLength = 63

/** A port name (RFC 6335). */
export const portNameMaxLength = 15

/** The base of a generated name is cut to this, so that base + suffix is a DNS label. */
export const generatedNameBaseMaxLength = dnsLabelMaxLength - 5

/** All annotations of one object together. */
export const annotationsMaxBytes = 256 * 1024
