/**
 * What rules cost on the way of a write: an AuthorizationPolicy and an HTTPRoute checked against
 * their CRDs with and without rules, the first use of a kind (compiling), and one nested quantifier
 * in our evaluator against @bufbuild/cel's.
 */
import { celEnv, parse, plan } from '@bufbuild/cel'
import { CelEnvironment, kubernetesLibraries, listType, types } from '../../src/cel/index.ts'
import {
  builtinCrds,
  checkRules,
  type KindSchema,
  loadBuiltinSchemas,
  validate,
  validateCustomResource,
} from '../../src/schema/index.ts'
import type { BenchResult } from '../../tools/bench.ts'

const rounds = 3000

const policy = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'viewer', namespace: 'default' },
  spec: {
    selector: { matchLabels: { app: 'productpage', version: 'v1' } },
    action: 'ALLOW',
    rules: [
      {
        from: [
          { source: { principals: ['cluster.local/ns/default/sa/sleep', 'cluster.local/ns/a/*'] } },
        ],
        to: [
          { operation: { methods: ['GET', 'HEAD'], paths: ['/info*', '/api/*'], ports: ['8080'] } },
        ],
        when: [{ key: 'request.auth.claims[iss]', values: ['https://accounts.example.com'] }],
      },
    ],
  },
}

const route = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'bookinfo', namespace: 'default' },
  spec: {
    parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'bookinfo' }],
    hostnames: ['bookinfo.example.com'],
    rules: ['/productpage', '/static', '/login', '/logout', '/api/v1/products'].map((value) => ({
      matches: [{ path: { type: 'PathPrefix', value } }, { path: { type: 'Exact', value } }],
      filters: [
        {
          type: 'RequestHeaderModifier',
          requestHeaderModifier: { set: [{ name: 'x-from', value: 'gateway' }] },
        },
      ],
      backendRefs: [{ group: '', kind: 'Service', name: 'productpage', port: 9080, weight: 1 }],
      timeouts: { request: '10s', backendRequest: '5s' },
    })),
  },
}

export async function run(): Promise<BenchResult> {
  const figures: Record<string, number> = {}
  const crds = builtinCrds()
  figures['check_all_crds_ms'] = round(time(1, () => crds.flatMap(checkRules)) / 1000)
  const schemas = loadBuiltinSchemas()
  for (const crd of crds) schemas.addCrd(crd)
  for (const object of [policy, route]) {
    const [group = '', version = ''] = object.apiVersion.split('/')
    const kind = schemas.get({ group, version, kind: object.kind })
    if (kind === undefined) throw new Error(`no schema of ${object.kind}`)
    const name = object.kind.toLowerCase()
    figures[`${name}_first_ms`] = round(time(1, () => accepted(kind, object)) / 1000)
    figures[`${name}_schema_us`] = round(time(rounds, () => validate(kind, object)))
    figures[`${name}_with_rules_us`] = round(time(rounds, () => accepted(kind, object)))
  }
  const [ours, theirs] = quantifiers()
  figures['nested_quantifier_us'] = round(ours)
  figures['nested_quantifier_bufbuild_us'] = round(theirs)
  for (const [key, value] of Object.entries(figures)) console.log(`${key.padEnd(32)} ${value}`)
  return { bench: 'rules', figures, ratios: { nested_quantifier: round(ours / theirs) } }
}

function accepted(kind: KindSchema, object: unknown): void {
  const errors = validateCustomResource(kind, object)
  if (errors.length > 0) throw new Error(JSON.stringify(errors))
}

/** A 16 by 16 uniqueness rule, as Gateway API has several. */
function quantifiers(): [number, number] {
  const rule = 'self.all(a, self.exists_one(b, a == b))'
  const list = Array.from({ length: 16 }, (_, i) => `name-${i}`)
  const environment = new CelEnvironment([...kubernetesLibraries])
  const program = environment.compile(rule, [{ name: 'self', type: listType(types.string) }])
  const planned = plan(celEnv(), parse(rule))
  return [time(rounds, () => program.evaluate([list])), time(rounds, () => planned({ self: list }))]
}

/** Microseconds of one round, after as many for warming up (but for single ones). */
function time(times: number, work: () => unknown): number {
  if (times > 1) for (let i = 0; i < times; i++) work()
  const started = performance.now()
  for (let i = 0; i < times; i++) work()
  return ((performance.now() - started) * 1000) / times
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
