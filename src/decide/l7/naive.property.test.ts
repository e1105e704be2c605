/** The compiled forms against interpreters that walk the configuration as it is written. */
import assert from 'node:assert/strict'
import test from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { configOf, decide, everything, hostOf, httpFilter, type } from './fixture.ts'

interface NaiveRoute {
  readonly kind: 'prefix' | 'path' | 'pathSeparatedPrefix'
  readonly text: string
  readonly insensitive: boolean
  readonly header: string | undefined
}

const texts = ['/', '/a', '/ab', '/a/b', '/a/b/', '/abc', '/b', '/A', '/a/bc/d'] as const
const route = fc.record<NaiveRoute>({
  kind: fc.constantFrom('prefix', 'path', 'pathSeparatedPrefix'),
  text: fc.constantFrom(...texts),
  insensitive: fc.boolean(),
  header: fc.option(fc.constantFrom('1', '2'), { nil: undefined }),
})

function naiveMatch({ kind, text, insensitive, header }: NaiveRoute, path: string, given: string) {
  const plain = (value: string): string => (insensitive ? value.toLowerCase() : value)
  const [own, wanted] = [plain(path), plain(text)]
  if (header !== undefined && header !== given) return false
  if (kind === 'path') return own === wanted
  if (kind === 'prefix') return own.startsWith(wanted)
  return own === wanted || own.startsWith(`${wanted}/`)
}

function routeJson({ kind, text, insensitive, header }: NaiveRoute, index: number): JsonObject {
  const headers = header === undefined ? [] : [{ name: 'x-h', stringMatch: { exact: header } }]
  const match = { [kind]: text, headers, ...(insensitive ? { caseSensitive: false } : {}) }
  return { match, directResponse: { status: 200, body: { inlineString: String(index) } } }
}

test('an indexed virtual host finds the first route that a walk through all of them finds', () => {
  fc.assert(
    fc.property(
      fc.array(route, { minLength: 1, maxLength: 40 }),
      fc.array(
        fc.tuple(
          fc.constantFrom(...texts, '/a/b/c', '/none', '/ABC'),
          fc.constantFrom('1', '2', '3'),
        ),
        {
          minLength: 1,
          maxLength: 8,
        },
      ),
      (routes, questions) => {
        const config = configOf(hostOf(...routes.map(routeJson)))
        for (const [path, given] of questions) {
          const expected = routes.findIndex((each) => naiveMatch(each, path, given))
          const decision = decide(config, { path: `${path}?q=/a`, headers: { 'x-h': given } })
          assert(decision.kind === 'reply')
          assert.equal(expected < 0 ? '' : String(expected), String(decision.body))
        }
      },
    ),
    { numRuns: 400 },
  )
})

type Rule =
  | { readonly any: boolean }
  | { readonly port: number }
  | { readonly path: string }
  | { readonly method: string }
  | { readonly principal: string }
  | { readonly ip: string; readonly length: number }
  | { readonly not: Rule }
  | { readonly and: readonly Rule[] }
  | { readonly or: readonly Rule[] }

interface Asked {
  readonly path: string
  readonly method: string
  readonly port: number
  readonly ip: string
  readonly principal: string | undefined
}

const bits = (ip: string): string =>
  ip
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('')

function naiveRule(rule: Rule, asked: Asked): boolean {
  if ('any' in rule) return rule.any
  if ('port' in rule) return asked.port === rule.port
  if ('path' in rule) return asked.path.startsWith(rule.path)
  if ('method' in rule) return asked.method === rule.method
  if ('principal' in rule) return asked.principal === rule.principal
  if ('ip' in rule) return bits(asked.ip).startsWith(bits(rule.ip).slice(0, rule.length))
  if ('not' in rule) return !naiveRule(rule.not, asked)
  if ('and' in rule) return rule.and.every((part) => naiveRule(part, asked))
  return rule.or.some((part) => naiveRule(part, asked))
}

/** As a permission, or as a principal: most have the same form in both. */
function ruleJson(rule: Rule, principal: boolean): JsonObject {
  if ('any' in rule) return { any: rule.any }
  if ('port' in rule) return { destinationPort: rule.port }
  if ('path' in rule) return { urlPath: { path: { prefix: rule.path } } }
  if ('method' in rule) return { header: { name: ':method', stringMatch: { exact: rule.method } } }
  if ('principal' in rule) return { authenticated: { principalName: { exact: rule.principal } } }
  if ('ip' in rule) {
    const range = { addressPrefix: rule.ip, prefixLen: rule.length }
    return principal ? { directRemoteIp: range } : { destinationIp: range }
  }
  if ('not' in rule) return { [principal ? 'notId' : 'notRule']: ruleJson(rule.not, principal) }
  const [name, field] = principal ? ['Ids', 'ids'] : ['Rules', 'rules']
  const parts = 'and' in rule ? rule.and : rule.or
  const list = { [field]: parts.map((part) => ruleJson(part, principal)) }
  return { [`${'and' in rule ? 'and' : 'or'}${name}`]: list }
}

const shared: fc.Arbitrary<Rule>[] = [
  fc.record({ any: fc.boolean() }),
  fc.record({ path: fc.constantFrom('/', '/a', '/b') }),
  fc.record({ method: fc.constantFrom('GET', 'POST') }),
]

function ruleOf(leaves: readonly fc.Arbitrary<Rule>[]): fc.Arbitrary<Rule> {
  const { rule } = fc.letrec<{ rule: Rule }>((tie) => ({
    rule: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      ...leaves,
      fc.record({ not: tie('rule') }),
      fc.record({ and: fc.array(tie('rule'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ or: fc.array(tie('rule'), { minLength: 1, maxLength: 3 }) }),
    ),
  }))
  return rule
}

const permission = ruleOf([...shared, fc.record({ port: fc.constantFrom(80, 443) })])
const principal = ruleOf([
  ...shared,
  fc.record({ principal: fc.constantFrom('spiffe://td/a', 'spiffe://td/b') }),
  fc.record({
    ip: fc.constantFrom('10.0.0.1', '10.1.0.0'),
    length: fc.constantFrom(8, 15, 16, 32),
  }),
])
const policy = fc.record({
  permissions: fc.array(permission, { minLength: 1, maxLength: 3 }),
  principals: fc.array(principal, { minLength: 1, maxLength: 3 }),
})
const asked: fc.Arbitrary<Asked> = fc.record({
  path: fc.constantFrom('/', '/a', '/ab', '/b/c'),
  method: fc.constantFrom('GET', 'POST'),
  port: fc.constantFrom(80, 443),
  ip: fc.constantFrom('10.0.0.1', '10.1.2.3', '11.0.0.1'),
  principal: fc.constantFrom(undefined, 'spiffe://td/a', 'spiffe://td/b'),
})

test('RBAC policies decide as they read, and an explanation names the policy that counted', () => {
  fc.assert(
    fc.property(
      fc.array(policy, { maxLength: 4 }),
      fc.constantFrom('ALLOW', 'DENY'),
      asked,
      (policies, action, question) => {
        const named = Object.fromEntries(
          policies.map(({ permissions, principals }, index) => [
            `ns[n]-policy[p]-rule[${index}]`,
            {
              permissions: permissions.map((rule) => ruleJson(rule, false)),
              principals: principals.map((rule) => ruleJson(rule, true)),
            },
          ]),
        )
        const filter = httpFilter('rbac', {
          ...type('extensions.filters.http.rbac.v3.RBAC'),
          rules: { action, policies: named },
        })
        const first = policies.findIndex(
          ({ permissions, principals }) =>
            permissions.some((rule) => naiveRule(rule, question)) &&
            principals.some((rule) => naiveRule(rule, question)),
        )
        const allowed = action === 'ALLOW' ? first >= 0 : first < 0
        const { path, method, port, ip, principal: name } = question
        const tls = {
          uriSans: name === undefined ? [] : [name],
          dnsSans: [],
          subject: '',
          presented: true,
          validated: true,
          localUriSans: [],
        }
        const facts = {
          sourceIp: ip,
          destinationPort: port,
          ...(name === undefined ? {} : { tls }),
        }
        const config = configOf(hostOf(everything), filter)
        const decision = decide(config, { path, method, connection: facts })
        assert.equal(decision.kind, allowed ? 'forward' : 'reply')
        if (decision.kind === 'reply' && first >= 0) {
          assert.match(decision.details, new RegExp(`rule\\[${first}\\]`))
        }
      },
    ),
    { numRuns: 800 },
  )
})
