/**
 * One rule of a delegate below the rule that delegates to it: a request must match both. What the
 * delegate leaves open, the root's rule says.
 */
import { isDeepStrictEqual } from 'node:util'
import type { StringMatch, VirtualHttpMatch, VirtualHttpRoute } from '../../../model/index.ts'

/** Undefined when no request can match both. */
export function mergeDelegate(
  root: VirtualHttpRoute,
  leaf: VirtualHttpRoute,
): VirtualHttpRoute | undefined {
  const { delegate: _, match: rootMatches = [], name: rootName, ...inherited } = root
  const match = mergeMatches(rootMatches, leaf.match ?? [])
  if (match === undefined) return undefined
  const name = [rootName, leaf.name].filter((part) => part !== undefined && part !== '').join('-')
  const { mirror, mirrors, ...rest } = inherited
  const mirrored = leaf.mirror !== undefined || leaf.mirrors !== undefined
  return {
    ...rest,
    ...(mirrored || mirror === undefined ? {} : { mirror }),
    ...(mirrored || mirrors === undefined ? {} : { mirrors }),
    ...leaf,
    ...(name === '' ? {} : { name }),
    ...(match.length === 0 ? {} : { match }),
  }
}

function mergeMatches(
  roots: readonly VirtualHttpMatch[],
  leaves: readonly VirtualHttpMatch[],
): readonly VirtualHttpMatch[] | undefined {
  if (roots.length === 0) return leaves
  if (leaves.length === 0) return roots
  const merged = roots.flatMap((root) => leaves.flatMap((leaf) => mergeMatch(root, leaf) ?? []))
  return merged.length === 0 ? undefined : merged
}

function mergeMatch(root: VirtualHttpMatch, leaf: VirtualHttpMatch): VirtualHttpMatch | undefined {
  const compatible =
    fits(root.uri, leaf.uri) &&
    fits(root.scheme, leaf.scheme) &&
    fits(root.method, leaf.method) &&
    fits(root.authority, leaf.authority) &&
    mapsFit(root.headers, leaf.headers) &&
    mapsFit(root.withoutHeaders, leaf.withoutHeaders) &&
    mapsFit(root.queryParams, leaf.queryParams) &&
    (root.ignoreUriCase ?? false) === (leaf.ignoreUriCase ?? false) &&
    equalIfBoth(root.port, leaf.port) &&
    equalIfBoth(root.sourceNamespace, leaf.sourceNamespace) &&
    labelsFit(root.sourceLabels, leaf.sourceLabels)
  if (!compatible) return undefined
  const gateways =
    root.gateways === undefined || leaf.gateways === undefined
      ? (root.gateways ?? leaf.gateways)
      : root.gateways.filter((gateway) => leaf.gateways?.includes(gateway))
  if (gateways?.length === 0) return undefined
  const name = [root.name, leaf.name].filter((part) => part !== undefined && part !== '').join('-')
  return {
    ...root,
    ...leaf,
    ...(name === '' ? {} : { name }),
    ...both('headers', root, leaf),
    ...both('withoutHeaders', root, leaf),
    ...both('queryParams', root, leaf),
    ...both('sourceLabels', root, leaf),
    ...(gateways === undefined ? {} : { gateways }),
  }
}

function both(
  field: 'headers' | 'withoutHeaders' | 'queryParams' | 'sourceLabels',
  root: VirtualHttpMatch,
  leaf: VirtualHttpMatch,
): Partial<VirtualHttpMatch> {
  if (root[field] === undefined && leaf[field] === undefined) return {}
  return { [field]: { ...root[field], ...leaf[field] } }
}

function equalIfBoth<T>(root: T | undefined, leaf: T | undefined): boolean {
  return root === undefined || leaf === undefined || root === leaf
}

function labelsFit(
  root: Readonly<Record<string, string>> = {},
  leaf: Readonly<Record<string, string>> = {},
): boolean {
  return Object.keys(root).every((key) => equalIfBoth(root[key], leaf[key]))
}

function mapsFit(
  root: Readonly<Record<string, StringMatch>> = {},
  leaf: Readonly<Record<string, StringMatch>> = {},
): boolean {
  return Object.keys(root).every((key) => fits(root[key], leaf[key]))
}

/** Whether everything the leaf matches is matched by the root: what can be said without running regexes. */
function fits(root: StringMatch | undefined, leaf: StringMatch | undefined): boolean {
  if (root === undefined || leaf === undefined) return true
  if (isDeepStrictEqual(root, leaf)) return true
  const { prefix } = root
  if (prefix === undefined) return Object.keys(root).length === 0
  return leaf.exact?.startsWith(prefix) === true || leaf.prefix?.startsWith(prefix) === true
}
