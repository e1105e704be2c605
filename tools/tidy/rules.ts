/** What tidy holds: the order of the rooms and the bans, as data. ARCHITECTURE.md shows the same order. */

/** Rows from the bottom up; inside a row a room may import those to its left. */
export const layers: readonly (readonly string[])[] = [
  ['base', 'proto'],
  ['metrics', 'tracing', 'linux', 'streams', 'dns', 'x509', 'cel', 'grpc', 'zds', 'http', 'hbone'],
  ['kube', 'schema', 'patch', 'client'],
  [
    'model',
    'ingest',
    'translate',
    'decide',
    'telemetry',
    'identity',
    'xdsclient',
    'analyze',
    'inject',
    'ca',
    'xds',
    'controllers',
    'registry',
  ],
  ['controlplane', 'nodeproxy', 'l7proxy', 'nodeagent', 'standalone', 'consoleapi', 'cli'],
]

/** Files of a room that others may import. */
export const doors: Readonly<Record<string, readonly string[]>> = {
  decide: ['index.ts', 'l7.ts'],
  proto: ['index.ts', 'envoy.ts'],
}

/** Rooms that must not import the listed ones, whatever the order says, and why. */
export const forbidden: readonly { rooms: string[]; imports: string[]; why: string }[] = [
  {
    rooms: ['nodeproxy', 'l7proxy', 'hbone', 'decide', 'identity', 'xdsclient', 'telemetry'],
    imports: ['kube', 'schema', 'patch', 'client'],
    why: 'the data plane knows the world through xDS only',
  },
  {
    rooms: ['controlplane'],
    imports: ['registry', 'standalone'],
    why: 'it talks HTTP, as on a cluster',
  },
  {
    rooms: ['registry'],
    imports: [
      'model',
      'ingest',
      'translate',
      'decide',
      'ca',
      'xds',
      'analyze',
      'inject',
      'hbone',
      'zds',
    ],
    why: 'the mesh is just CRDs to it',
  },
]

/** No I/O and no clock: the same answer for the same input, in a proxy and in `explain`. */
export const pureRooms = ['model', 'translate', 'decide', 'analyze', 'inject']
export const pureModules = [
  'node:assert',
  'node:assert/strict',
  'node:util',
  'node:net',
  'node:buffer',
]

/** What single pure rooms may import besides: signatures are computed, keys come as parameters. */
export const pureModulesOf: Readonly<Record<string, readonly string[]>> = {
  decide: ['node:crypto'],
}

/** Packages and modules that only some rooms may import. */
export const onlyIn: Readonly<Record<string, readonly string[]>> = {
  koffi: ['linux'],
  'node:sqlite': ['registry'],
  commander: ['cli'],
  '@peculiar/x509': ['x509'],
  ws: ['streams'],
  '@grpc/grpc-js': ['grpc', 'xdsclient', 'identity'],
}

export const limits = { fileLines: 500, lineColumns: 120 } as const

/** Table data may be longer than a file of code. */
export const longFiles: readonly string[] = []
