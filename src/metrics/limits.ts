/** Bounds of this room. */

/** Series of one family; a mesh of a few thousand workloads talking to each other stays below. */
export const maxChildrenDefault = 20_000
