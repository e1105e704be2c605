/** For tests: objects made up from a schema. */
import fc from 'fast-check'
import type { SchemaNode } from './types.ts'

/** Objects that fit a schema roughly: right types mostly, any values. */
export function arbitraryOf(node: SchemaNode, depth: number): fc.Arbitrary<unknown> {
  const wild = fc.oneof(
    fc.constantFrom<unknown>(null, '', 0, -1, 1e300, 1.5, true, [], {}),
    fc.string(),
  )
  const fitting = ((): fc.Arbitrary<unknown> => {
    switch (node.type) {
      case 'string':
        return fc.oneof(
          fc.constantFrom(...(node.enum ?? ['a', '*', '1s', '/a', 'http://x'])),
          fc.string(),
        )
      case 'integer':
        return fc.oneof(fc.integer(), fc.constantFrom(1, 80, 2 ** 60))
      case 'number':
        return fc.double()
      case 'boolean':
        return fc.boolean()
      case 'array':
        return fc.array(depth > 0 && node.items ? arbitraryOf(node.items, depth - 1) : wild, {
          maxLength: 3,
        })
      case 'object': {
        if (depth <= 0) return fc.constant({})
        if (typeof node.additionalProperties === 'object') {
          return fc.dictionary(fc.string(), arbitraryOf(node.additionalProperties, depth - 1), {
            maxKeys: 3,
          })
        }
        const fields = Object.entries(node.properties ?? {}).map(([name, child]) => [
          name,
          fc.option(arbitraryOf(child, depth - 1), { nil: undefined, freq: 1 }),
        ])
        return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>)
      }
      default:
        return wild
    }
  })()
  return fc.oneof({ weight: 19, arbitrary: fitting }, { weight: 1, arbitrary: wild })
}
