import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CelCompileError, CelCostError } from './errors.ts'
import { environment } from './fixture.ts'
import { maxEvaluationCost, maxExpressionLength } from './limits.ts'
import { listType, types } from './types.ts'

const variables = [{ name: 'self', type: listType(types.string) }]
const names = Array.from({ length: 500 }, (_, i) => `name-${i}`)

function evaluate(source: string, list: readonly string[] = names, limit?: number) {
  return environment.compile(source, variables).evaluate([list], limit)
}

test('the cost of a run is the same each time and grows with the work', () => {
  const small = evaluate('self.all(a, a.startsWith("name"))', names.slice(0, 10))
  const large = evaluate('self.all(a, a.startsWith("name"))', names.slice(0, 100))
  assert.equal(evaluate('self.all(a, a.startsWith("name"))', names.slice(0, 10)).cost, small.cost)
  assert.equal(Math.round(large.cost / small.cost), 10)
})

test('a run beyond its limit ends with an error that nothing in the expression absorbs', () => {
  for (const source of [
    'self.all(a, self.all(b, self.all(c, true)))',
    'self.all(a, self.all(b, self.all(c, 1 / 0 == 1))) || true',
    'self.exists(a, self.map(b, self.map(c, b + c)).size() < 0)',
    'self.join(",").findAll("").size() > 0 && self.all(a, self.join(a).split("").size() > 0)',
    'self.all(a, self.join("").contains(self.join("") + "x") == false)',
    'self.all(a, self.all(b, a.replace("", self.join("")).size() > 0))',
    'self.map(a, self.map(b, self)) == self.map(a, self.map(b, self))',
  ]) {
    const outcome = evaluate(source)
    assert.ok(outcome.error instanceof CelCostError, source)
    assert.equal(outcome.cost, maxEvaluationCost)
  }
})

test('whatever an expression does, a run is short', () => {
  const long = Array.from({ length: 3000 }, (_, i) => 'x'.repeat(100) + i)
  for (const source of [
    'self.all(a, self.all(b, (a + b).findAll("x?").size() > 0))',
    'self.all(a, self.all(b, 1 / 0 == 1))',
    'self.all(a, self.all(b, ip("10.0.0.1").isLoopback() == false))',
    `self.all(a, self.all(b, (a + b).matches("(x+x+)+y") == false))`,
    'self.all(a, self.join("").indexOf(self.join("").substring(9) + "y") < 0)',
    'self.all(a, timestamp("2020-01-01T00:00:00Z").getHours("Europe/Berlin") == 1 || true)',
  ]) {
    const startedMs = performance.now()
    evaluate(source, long)
    assert.ok(performance.now() - startedMs < 1500, source)
  }
})

test('texts that are too long or nested too deeply are refused, not run', () => {
  const refused = (source: string) => {
    assert.throws(() => environment.compile(source, variables), CelCompileError)
  }
  refused(`"${'a'.repeat(maxExpressionLength)}"`)
  refused('('.repeat(2000) + 'true' + ')'.repeat(2000))
  refused(`true${' == true'.repeat(2000)}`)
  refused(`self${'[0]'.repeat(2000)}`)
  refused('['.repeat(3000))
  refused(`${'!('.repeat(1000)}true${')'.repeat(1000)}`)
  let mixed = 'self'
  for (let i = 0; i < 390; i++) mixed = `(${mixed})${'.a'.repeat(40)}`
  refused(mixed)
  // Long chains of the logical operators are balanced and fine.
  const chain = Array.from({ length: 2000 }, () => 'true').join(' && ')
  assert.equal(environment.compile(chain, []).evaluate([]).error, undefined)
})
