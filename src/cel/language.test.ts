import assert from 'node:assert/strict'
import { test } from 'node:test'
import { environment, result } from './fixture.ts'
import { valueOfJson } from './json.ts'
import { listType, mapType, objectType, types } from './types.ts'

/** Each line: an expression, then what it gives. */
function expect(table: Record<string, string>): void {
  for (const [source, wanted] of Object.entries(table)) {
    assert.equal(result(source), wanted, source)
  }
}

test('arithmetic is exact, checks its range and never mixes types', () => {
  expect({
    '1 + 2 * 3 - 4 / 2 % 3': '5',
    '-7 / 2': '-3',
    '-7 % 3': '-1',
    '1.5 + 2.0': '3.5',
    '3u - 1u': '2u',
    '9007199254740993 + 0': '9007199254740993',
    '9223372036854775807 + 1': 'error: integer overflow',
    '-9223372036854775808 - 1': 'error: integer overflow',
    '1u - 2u': 'error: unsigned integer overflow',
    '1 / 0': 'error: division by zero',
    '1 % 0': 'error: modulus by zero',
    '1.0 / 0.0 > 1e308': 'true',
    '1 + 1.0': "compile: 1:3: found no matching overload for '_+_' applied to '(int, double)'",
    '9223372036854775808': 'compile: 1:1: Syntax error: invalid int literal',
    '0xFFu + 0x1u': '256u',
  })
})

test('equality and order compare values; numbers of different types only through dyn', () => {
  expect({
    'dyn(1) == 1.0': 'true',
    '1 == 1.0': "compile: 1:3: found no matching overload for '_==_' applied to '(int, double)'",
    '1 < 1.5 && 2u > 1': 'true',
    '[1, 2] == [1, 2] && [1] != [2]': 'true',
    '{"a": [1]} == {"a": [1]}': 'true',
    '"\\uffff" < "\\U0001f600"': 'true',
    'dyn("1") == dyn(1)': 'false',
    'dyn("1") < dyn(1)': 'error: no such overload',
    'null == null': 'true',
    '0.0 / 0.0 == 0.0 / 0.0': 'false',
    '0.0 / 0.0 <= 1.0': 'false',
  })
})

test('a deciding side of && and || hides an error of the other, and of two errors the left counts', () => {
  expect({
    '1 / 0 == 1 || true': 'true',
    'true || 1 / 0 == 1': 'true',
    'false && 1 / 0 == 1': 'false',
    '1 / 0 == 1 && false': 'false',
    '1 / 0 == 1 || false': 'error: division by zero',
    '1 / 0 == 1 || 1 % 0 == 1': 'error: division by zero',
    'true ? 1 : 1 / 0': '1',
    '[1, 0].exists(x, 1 / x == 1)': 'true',
    '[0, 1].exists(x, 1 / x == 1)': 'true',
    '[0, 2].exists(x, 1 / x == 1)': 'error: division by zero',
    '[0, 2].all(x, 1 / x == 1)': 'false',
    '[0, 1].exists_one(x, 1 / x == 1)': 'error: division by zero',
  })
})

test('macros loop over lists and over the keys of maps', () => {
  expect({
    '[1, 2, 3].all(x, x > 0)': 'true',
    '[].exists(x, x == 1)': 'false',
    '[1, 2, 2].exists_one(x, x == 1)': 'true',
    '[1, 2, 2].existsOne(x, x == 2)': 'false',
    '[1, 2, 3].map(x, x * x)': '[1, 4, 9]',
    '[1, 2, 3].map(x, x > 1, x * x)': '[4, 9]',
    '{"a": 1, "b": 2}.filter(k, k != "a")': '["b"]',
    '[[1], [2, 3]].map(x, x.map(x, x + 1))': '[[2], [3, 4]]',
    '[1].all(x, [2].all(x, x == 2) && x == 1)': 'true',
    '"abc".all(x, true)':
      "compile: 1:1: expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)",
    '[1].map(x + 1, x)': 'compile: 1:11: argument must be a simple name',
    '[1].all(x, x)': "compile: 1:12: expected type 'bool' but found 'int'",
  })
})

test('fields and elements that are missing are errors; has() and optionals ask first', () => {
  expect({
    '{"a": 1}.a': '1',
    '{"a": 1}.b': 'error: no such key: b',
    '{"a": 1}["b"]': 'error: no such key: b',
    'has({"a": 1}.b)': 'false',
    '[1][1]': 'error: index out of bounds: 1',
    '[1][-1]': 'error: index out of bounds: -1',
    '[1]["a"]':
      "compile: 1:4: found no matching overload for '_[_]' applied to '(list(int), string)'",
    '{1: 2}[dyn(1.0)]': '2',
    '{"a": {"b": 1}}.?a.b': 'some(1)',
    '{"a": {"b": 1}}.?x.b.orValue(7)': '7',
    '[5][?0].value() + [5][?1].orValue(2)': '7',
    'has({"a": {"b": 1}}.?a.b)': 'true',
    'optional.none().value()': 'error: optional.none() dereference',
    'optional.of(1).optMap(x, x + 1)': 'some(2)',
    'optional.of(1).optFlatMap(x, optional.none())': 'none',
    'optional.ofNonZeroValue("").or(optional.of("x"))': 'some("x")',
    '[?optional.of(1), ?optional.none(), 2]': '[1, 2]',
    '{?"a": optional.of(1), ?"b": optional.none()}': '{"a": 1}',
    'has(a)': 'compile: 1:5: invalid argument to has() macro',
  })
})

test('literals have every form of the language', () => {
  expect({
    '"\\u00e9\\x41\\101\\n"': '"éAA\\n"',
    "'''a'b'''": '"a\'b"',
    'r"\\d+"': '"\\\\d+"',
    'b"\\xff\\u00e9a"': 'b"ffc3a961"',
    '1e3': '1000.0',
    '-1.5e-3': '-0.0015',
    '.5': '0.5',
    '[1, 2,]': '[1, 2]',
    '{"a": 1,}': '{"a": 1}',
    'true // a comment\n && false': 'false',
    '"\\q"': 'compile: 1:2: Syntax error: unknown escape in a literal',
    '"\\ud800"': 'compile: 1:2: Syntax error: escape of an invalid code point',
    "'a\nb'": "compile: 1:1: Syntax error: token recognition error at: ''a'",
    '[1, "a"]': "compile: 1:5: expected type 'int' but found 'string'",
    '{"a": 1, "a": 2}': 'error: insert failed: duplicate key a',
  })
})

test('syntax errors say where and what was there', () => {
  expect({
    '': "compile: 1:1: Syntax error: mismatched input '<EOF>'",
    '1 +': "compile: 1:4: Syntax error: mismatched input '<EOF>'",
    'a b': "compile: 1:3: Syntax error: mismatched input 'b'",
    'f(1,)': "compile: 1:5: Syntax error: mismatched input ')'",
    'a.1': "compile: 1:3: Syntax error: mismatched input '1' expecting 'IDENTIFIER'",
    'a ? b': "compile: 1:6: Syntax error: mismatched input '<EOF>' expecting ':'",
    for: 'compile: 1:1: reserved identifier: for',
    'true\n  && #': "compile: 2:6: Syntax error: token recognition error at: '#'",
    'Some{field: 1}': 'compile: 1:5: messages cannot be constructed in this environment',
  })
})

test('types are checked against declared fields before anything runs', () => {
  const fields = new Map([
    ['name', types.string],
    ['port', types.int],
    ['labels', mapType(types.string, types.string)],
    ['items', listType(objectType('item', new Map([['weight', types.int]])))],
    ['anything', types.dyn],
  ])
  const variables = [{ name: 'self', type: objectType('object', fields) }]
  const complaint = (source: string): string => {
    try {
      environment.compile(source, variables)
      return ''
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : ''
    }
  }
  for (const valid of [
    'self.port + 1 == 2',
    'self.items.all(i, i.weight > 0)',
    'has(self.items[0].weight)',
    'self.labels["a"] == self.labels.b',
    'self.anything.deep[0].x + 1 > 2',
    'self.items.map(i, i.weight).sum() == 100',
    '(has(self.items) ? self.items : []).size() > 0',
    'self == self && self != null',
  ]) {
    assert.equal(complaint(valid), '', valid)
  }
  assert.equal(
    complaint('has(self.labels) &&\n  self.prot > 1'),
    "ERROR: <input>:2:7: undefined field 'prot'\n |   self.prot > 1\n | ......^",
  )
  assert.match(complaint('self.name.x'), /type 'string' does not support field selection/)
  assert.match(complaint('self.port == "1"'), /'_==_' applied to '\(int, string\)'/)
  assert.match(complaint('self.name.startsWith(1)'), /'startsWith' applied to 'string.\(int\)'/)
  assert.match(complaint('size(self)'), /'size' applied to '\(object\)'/)
  assert.match(complaint('self.items.all(i, i.wait)'), /undefined field 'wait'/)
  assert.match(complaint('other.port'), /undeclared reference to 'other' \(in container ''\)/)
  assert.match(complaint('self.name.reversed()'), /undeclared reference to 'reversed'/)
  assert.match(complaint('self.name ? 1 : 2'), /'_\?_:_' applied to '\(string, int, int\)'/)
})

test('a program says which variables it uses, and what its result will be', () => {
  const variables = ['self', 'oldSelf'].map((name) => ({ name, type: listType(types.int) }))
  const program = environment.compile('self.all(oldSelf, oldSelf > 0)', variables)
  // The macro's own oldSelf is not the variable.
  assert.deepEqual([...program.uses], ['self'])
  assert.equal(program.type.kind, 'bool')
  assert.equal(environment.compile('oldSelf.size()', variables).uses.has('oldSelf'), true)
})

test('JSON without a schema becomes ints, doubles, lists and maps', () => {
  const object = {
    metadata: { name: 'a', labels: null },
    spec: { replicas: 3, ratio: 0.5, list: [true] },
  }
  const program = environment.compile(
    'object.spec.replicas + 1 == 4 && object.spec.ratio == 0.5 && object.spec.list[0] && object.metadata.labels == null',
    [{ name: 'object', type: types.dyn }],
  )
  assert.deepEqual(program.evaluate([valueOfJson(object)]), { value: true, cost: 13 })
})

test('null where a type says otherwise is an error of the call, not of ours', () => {
  const variables = [
    { name: 's', type: types.string, value: null },
    { name: 'l', type: listType(types.string), value: [null] },
  ]
  assert.equal(result('s.startsWith("a")', variables), 'error: no such overload')
  assert.equal(result('s + s', variables), 'error: no such overload')
  assert.equal(result('l.join(",")', variables), 'error: no such overload')
  assert.equal(result('l.all(x, x.size() > 0) || s == null', variables), 'true')
  assert.equal(result('[dyn(s), dyn(s)].sum() == 1', variables), 'error: no such overload')
})
