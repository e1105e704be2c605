import assert from 'node:assert/strict'
import { test } from 'node:test'
import { celEnv, isCelError, isCelList, isCelMap, isCelUint, parse, plan } from '@bufbuild/cel'
import { strings } from '@bufbuild/cel/ext'
import fc from 'fast-check'
import { CelCompileError } from './errors.ts'
import { environment, show } from './fixture.ts'
import { types } from './types.ts'
import type { Value } from './values.ts'

// @bufbuild/cel runs the conformance tests of the language; where both evaluate, they must agree.
const peer = celEnv({ funcs: strings })
const variables = ['i', 's', 'b', 'l', 'm'].map((name) => ({ name, type: types.dyn }))
const names = variables.map(({ name }) => name)

type Sort = 'int' | 'text' | 'bool' | 'list'

const leaf: Record<Sort, fc.Arbitrary<string>> = {
  int: fc.constantFrom(
    '0',
    '1',
    '2',
    '-3',
    'i',
    'm.a',
    'm.missing',
    'l[0]',
    'l[9]',
    '9223372036854775807',
  ),
  text: fc.constantFrom('""', '"a"', '"ab,c"', 's', 'm.t', '"é"'),
  bool: fc.constantFrom('true', 'false', 'b', 'has(m.a)', 'has(m.missing)'),
  list: fc.constantFrom('l', '[]', '[1, 2, 3]', 'm.l'),
}

const { expression } = fc.letrec<{
  expression: string
  int: string
  text: string
  bool: string
  list: string
}>((tie) => {
  const of = (sort: Sort, ...forms: fc.Arbitrary<string>[]) =>
    fc.oneof({ maxDepth: 4, withCrossShrink: true }, leaf[sort], ...forms)
  const form = (template: string): fc.Arbitrary<string> => {
    const holes = [...template.matchAll(/<(int|text|bool|list)>/g)].map(([, sort]) =>
      tie(sort as Sort),
    )
    return fc.tuple(...holes).map((parts) => {
      let next = 0
      return `(${template.replaceAll(/<\w+>/g, () => String(parts[next++]))})`
    })
  }
  return {
    expression: fc.oneof(tie('int'), tie('text'), tie('bool'), tie('list')),
    int: of(
      'int',
      ...[
        '<int> + <int>',
        '<int> - <int>',
        '<int> * <int>',
        '<int> / <int>',
        '<int> % <int>',
        '-<int>',
      ].map(form),
      ...[
        'size(<text>)',
        '<list>.size()',
        '<bool> ? <int> : <int>',
        '<text>.indexOf(<text>)',
        'int(string(<int>))',
      ].map(form),
    ),
    text: of(
      'text',
      ...[
        '<text> + <text>',
        '<bool> ? <text> : <text>',
        'string(<int>)',
        '<text>.lowerAscii()',
      ].map(form),
      ...['<text>.replace("a", <text>)', '<text>.trim()'].map(form),
    ),
    bool: of(
      'bool',
      ...[
        '<int> == <int>',
        '<int> < <int>',
        '<text> != <text>',
        '<text> >= <text>',
        '<list> == <list>',
      ].map(form),
      ...[
        '<bool> && <bool>',
        '<bool> || <bool>',
        '!<bool>',
        '<int> in <list>',
        '<bool> ? <bool> : <bool>',
      ].map(form),
      ...[
        '<list>.all(x, x > <int>)',
        '<list>.exists(x, x == <int>)',
        '<list>.exists_one(x, <bool>)',
      ].map(form),
      ...[
        '<text>.contains(<text>)',
        '<text>.startsWith(<text>)',
        '<list>.all(i, i / <int> == 1)',
      ].map(form),
    ),
    list: of(
      'list',
      ...[
        '<list> + <list>',
        '[<int>, <int>]',
        '<list>.map(x, x + <int>)',
        '<list>.filter(x, <bool>)',
      ].map(form),
      ...['<bool> ? <list> : <list>', '<list>.map(x, <bool>, <int>)'].map(form),
    ),
  }
})

function plain(value: unknown): Value {
  if (isCelList(value)) return Array.from(value, plain)
  if (isCelMap(value)) return new Map(Array.from(value, ([key, each]) => [plain(key), plain(each)]))
  if (isCelUint(value)) return value.value
  // Only the types of the generated expressions are left.
  return value as Value
}

test('random expressions give what the reference evaluator gives', () => {
  const bindings = {
    i: 5n,
    s: 'text',
    b: true,
    l: [1n, 2n],
    m: new Map<string, unknown>([
      ['a', 7n],
      ['t', 'x'],
      ['l', [4n]],
    ]),
  }
  const values = [
    5n,
    'text',
    true,
    [1n, 2n],
    new Map<Value, Value>([
      ['a', 7n],
      ['t', 'x'],
      ['l', [4n]],
    ]),
  ]
  let compared = 0
  fc.assert(
    fc.property(expression, (source) => {
      let mine: string
      try {
        const outcome = environment.compile(source, variables).evaluate(values)
        mine = outcome.error === undefined ? show(outcome.value) : 'error'
      } catch (thrown) {
        // The peer doesn't check types.
        if (thrown instanceof CelCompileError) return
        throw thrown
      }
      // The peer's input type can't be named from here.
      const theirs = plan(peer, parse(source))(bindings as never)
      assert.equal(mine, isCelError(theirs) ? 'error' : show(plain(theirs)), source)
      compared++
    }),
    { numRuns: 1500 },
  )
  assert.ok(compared > 1000)
  assert.equal(names.length, values.length)
})

test('no text makes the compiler throw anything but its own error, and no program throws', () => {
  const token = fc.constantFrom(
    ...'1 -1 1u 1.5 "a" b"x" true null i s l m x ( ) [ ] { } . , ? : ! - + * / % < <= == in && || .? [? {? has( .all(x, .map(x, .exists_one( .optMap(x, size( .split( .format( optional.of( duration( timestamp( ip( url( .matches( type( // ` \\ \' """'.split(
      ' ',
    ),
  )
  const soup = fc.array(token, { maxLength: 30 }).map((tokens) => tokens.join(' '))
  const some = fc.constantFrom<Value>(
    null,
    1n,
    'a',
    true,
    2.5,
    [1n, 'b'],
    new Map<Value, Value>([['a', 1n]]),
  )
  fc.assert(
    fc.property(
      fc.oneof(soup, expression, fc.string()),
      fc.array(some, { minLength: 5, maxLength: 5 }),
      (source, values) => {
        try {
          const outcome = environment.compile(source, variables).evaluate(values, 10_000)
          assert.ok(outcome.cost <= 10_000)
        } catch (thrown) {
          assert.ok(thrown instanceof CelCompileError, String(thrown))
        }
      },
    ),
    { numRuns: 3000 },
  )
})
