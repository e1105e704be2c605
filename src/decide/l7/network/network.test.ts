import assert from 'node:assert/strict'
import test from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { listener as api } from '../../../proto/envoy.ts'
import { compiledOrThrow } from '../errors.ts'
import { connection, message, steady, type } from '../fixture.ts'
import type { ConnectionFacts } from '../types.ts'
import { type CompiledListener, compileListener, decideConnection } from './listener.ts'

const network = (path: string, fields: JsonObject = {}): JsonObject => ({
  name: path.split('.')[0] ?? '',
  typedConfig: { ...type(`extensions.filters.network.${path}`), ...fields },
})

const proxy = (fields: JsonObject): JsonObject =>
  network('tcp_proxy.v3.TcpProxy', { statPrefix: 'x', ...fields })

function chain(name: string, filterChainMatch?: JsonObject): JsonObject {
  return {
    name,
    filters: [proxy({ cluster: name })],
    ...(filterChainMatch === undefined ? {} : { filterChainMatch }),
  }
}

function listenerOf(fields: JsonObject): CompiledListener {
  return compiledOrThrow(compileListener(message(api.ListenerSchema, { name: 'l', ...fields })))
}

function chosen(listener: CompiledListener, facts: Partial<ConnectionFacts>): string | undefined {
  return listener.choose({ ...connection, ...facts })?.name
}

test('the most specific chain wins, attribute by attribute, and an early choice is final', () => {
  const listener = listenerOf({
    filterChains: [
      chain('any'),
      chain('tls', { transportProtocol: 'tls' }),
      chain('wild', { serverNames: ['*.test'] }),
      chain('exact', { serverNames: ['a.test'] }),
      chain('h2', { serverNames: ['a.test'], applicationProtocols: ['h2'] }),
      chain('net', { prefixRanges: [{ addressPrefix: '10.1.0.0', prefixLen: 16 }] }),
      chain('host', {
        prefixRanges: [{ addressPrefix: '10.1.2.3', prefixLen: 32 }],
        serverNames: ['b.test'],
      }),
      chain('port', { destinationPort: 443 }),
    ],
    defaultFilterChain: chain('default'),
  })
  const hello = { transportProtocol: 'tls', sni: 'A.test' }
  const cases: [Partial<ConnectionFacts>, string][] = [
    [{}, 'any'],
    [{ transportProtocol: 'tls' }, 'tls'],
    [{ transportProtocol: 'tls', sni: 'x.y.test' }, 'wild'],
    [hello, 'exact'],
    [{ ...hello, alpn: ['h3', 'h2'] }, 'h2'],
    [{ destinationIp: '10.1.9.9' }, 'net'],
    [{ destinationIp: '10.1.2.3', transportProtocol: 'tls', sni: 'b.test' }, 'host'],
    // The address was matched best by a chain whose name is another: nothing goes back to `net`.
    [{ destinationIp: '10.1.2.3' }, 'default'],
    [{ destinationPort: 443, ...hello }, 'port'],
  ]
  for (const [facts, expected] of cases) {
    assert.equal(chosen(listener, facts), expected, JSON.stringify(facts))
  }
})

test('source addresses, ports and types choose chains', () => {
  const listener = listenerOf({
    filterChains: [
      chain('local', { sourceType: 'SAME_IP_OR_LOOPBACK' }),
      chain('external', { sourceType: 'EXTERNAL' }),
      chain('range', {
        sourceType: 'EXTERNAL',
        sourcePrefixRanges: [{ addressPrefix: '10.9.0.0', prefixLen: 16 }],
      }),
      chain('ports', { sourceType: 'EXTERNAL', sourcePorts: [999] }),
    ],
  })
  assert.equal(chosen(listener, { sourceIp: '127.0.0.1' }), 'local')
  assert.equal(chosen(listener, {}), 'external')
  assert.equal(chosen(listener, { sourceIp: '10.9.1.1' }), 'range')
  assert.equal(chosen(listener, { sourcePort: 999 }), 'ports')
})

test('a matcher tree as waypoints have it goes from address to port to protocol', () => {
  const input = (name: string): JsonObject => ({
    name,
    typedConfig: type(`extensions.matching.common_inputs.network.v3.${name}`),
  })
  const action = (name: string): JsonObject => ({
    action: {
      name,
      typedConfig: { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: name },
    },
  })
  const map = (inputName: string, entries: Record<string, JsonObject>): JsonObject => ({
    matcherTree: { input: input(inputName), exactMatchMap: { map: entries } },
  })
  const ports = map('DestinationPortInput', {
    80: { matcher: map('ApplicationProtocolInput', { "'h2c'": action('http') }) },
  })
  const listener = listenerOf({
    filterChains: [chain('http'), chain('direct'), chain('rest')],
    filterChainMatcher: {
      matcherTree: {
        input: input('DestinationIPInput'),
        customMatch: {
          name: 'ip',
          typedConfig: {
            '@type': 'type.googleapis.com/xds.type.matcher.v3.IPMatcher',
            rangeMatchers: [
              {
                ranges: [{ addressPrefix: '10.96.0.0', prefixLen: 12 }],
                onMatch: action('direct'),
              },
              {
                ranges: [{ addressPrefix: '10.96.0.10', prefixLen: 32 }],
                onMatch: { matcher: ports },
              },
            ],
          },
        },
      },
      onNoMatch: action('rest'),
    },
  })
  const service = { destinationIp: '10.96.0.10' }
  assert.equal(chosen(listener, { ...service, alpn: ['h2c'] }), 'http')
  assert.equal(chosen(listener, service), 'direct')
  assert.equal(chosen(listener, { destinationIp: '10.97.0.1' }), 'direct')
  assert.equal(chosen(listener, {}), 'rest')
})

test('network RBAC closes a connection, and names the policy', () => {
  const policies = {
    'ns[a]-policy[p]-rule[0]': {
      permissions: [{ destinationPort: 80 }],
      principals: [{ authenticated: { principalName: { exact: 'spiffe://td/evil' } } }],
    },
  }
  const rules = { action: 'DENY', policies }
  const listener = listenerOf({
    filterChains: [
      {
        filters: [
          network('rbac.v3.RBAC', { statPrefix: 'tcp.', rules }),
          proxy({ cluster: 'app' }),
        ],
      },
    ],
  })
  const tls = {
    uriSans: ['spiffe://td/evil'],
    dnsSans: [],
    subject: '',
    presented: true,
    validated: true,
    localUriSans: [],
  }
  const refused = decideConnection(listener, { ...connection, tls }, steady)
  assert(refused.kind === 'close')
  assert.match(refused.details, /ns\[a\]-policy\[p\]-rule\[0\]/)
  assert.equal(decideConnection(listener, connection, steady).kind, 'stream')
})

test('a TCP proxy goes by weight, by server name, and through a tunnel', () => {
  const clusters = [
    { name: 'one', weight: 9 },
    { name: 'two', weight: 1 },
  ]
  const listener = listenerOf({
    filterChains: [
      { filters: [proxy({ weightedClusters: { clusters } })] },
      {
        filterChainMatch: { transportProtocol: 'tls' },
        filters: [
          network('sni_cluster.v3.SniCluster'),
          proxy({ cluster: 'none', tunnelingConfig: { hostname: '%REQUESTED_SERVER_NAME%:443' } }),
        ],
      },
    ],
  })
  const clusterOf = (facts: Partial<ConnectionFacts>, random: () => number): string => {
    const decision = decideConnection(listener, { ...connection, ...facts }, { ...steady, random })
    assert(decision.kind === 'stream' && decision.terminal.kind === 'tcp')
    return decision.terminal.proxy.choose(decision.exchange).cluster
  }
  const draws = Array.from({ length: 2000 }, () => clusterOf({}, Math.random))
  const share = draws.filter((name) => name === 'two').length / draws.length
  assert(Math.abs(share - 0.1) < 0.04, String(share))
  const tls = { transportProtocol: 'tls', sni: 'outbound_.443_._.a.test' }
  assert.equal(
    clusterOf(tls, () => 0),
    tls.sni,
  )
  const decision = decideConnection(listener, { ...connection, ...tls }, steady)
  assert(decision.kind === 'stream' && decision.terminal.kind === 'tcp')
  const { tunnel } = decision.terminal.proxy
  assert.equal(tunnel?.hostname(decision.exchange, undefined), `${tls.sni}:443`)
})

test('two chains for the same connections, unknown filters and sockets are refused by name', () => {
  const compiled = compileListener(
    message(api.ListenerSchema, {
      name: 'l',
      filterChains: [
        chain('a', { serverNames: ['x'] }),
        chain('b', { serverNames: ['x', 'y'] }),
        {
          filters: [{ name: 'odd', typedConfig: type('extensions.filters.http.router.v3.Router') }],
          filterChainMatch: { destinationPort: 1 },
        },
      ],
    }),
  )
  assert.deepEqual(
    compiled.errors?.map(({ field }) => field),
    ['filter_chains[2].filters[0]', 'filter_chains[1].filter_chain_match'],
  )
})
