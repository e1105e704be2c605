/** Bounds on what one protobuf body may make us do; few bytes of it can stand for a lot of memory. */

/** Bytes of a body. Objects end at 1.5 MiB as JSON, and protobuf is never much longer. */
export const bodyBytesMax = 3 * 1024 * 1024

/** Messages inside messages. A level of a CRD's schema takes one or two; real ones stay below 60. */
export const depthMax = 200

/** Nesting of JSON inside a body (`RawExtension`, defaults of CRDs). */
export const jsonDepthMax = 200

/**
 * Fields, list items and map entries of a body. An empty message costs two bytes on the wire and
 * fifty here; an object of 1.5 MiB with the shortest useful values has about 300,000.
 */
export const valuesMax = 500_000

/** Characters of a client's own text in an error; a label key has up to 317. */
export const textShownMax = 320
