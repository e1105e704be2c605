import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock, type Logger, silentLogger, systemClock } from '../base/index.ts'
import { createInformer } from '../client/index.ts'
import { callHeaders, GrpcChannel, GrpcServer, grpcStatus } from '../grpc/index.ts'
import { CertificateManager, createCaClient } from '../identity/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import { ca, create } from '../proto/index.ts'
import { createCsr, generateEcKeyPair, parseCertificate } from '../x509/index.ts'
import { MemoryKube } from './fixture.ts'
import {
  CertificateAuthority,
  createAuthenticator,
  createPodLookup,
  distributeRoots,
  registerCertificateService,
  ServingKeeper,
  servingNames,
} from './index.ts'

interface Review {
  status: {
    authenticated: boolean
    audiences?: string[]
    error?: string
    user?: { username: string; extra?: Record<string, string[]> }
  }
}

const tokens: Record<string, Review> = {
  reviews: review('system:serviceaccount:bookinfo:reviews', 'reviews-1', 'uid-r'),
  ztunnel: review('system:serviceaccount:istio-system:ztunnel', 'ztunnel-a', 'uid-za'),
  'ztunnel-unbound': review('system:serviceaccount:istio-system:ztunnel'),
  'ztunnel-old': review('system:serviceaccount:istio-system:ztunnel', 'ztunnel-a', 'uid-before'),
  'ztunnel-gone': review('system:serviceaccount:istio-system:ztunnel', 'ztunnel-z', 'uid-zz'),
  'ztunnel-borrowed': review('system:serviceaccount:istio-system:ztunnel', 'other', 'uid-o'),
  'not-an-account': review('kubernetes-admin'),
  'no-audience': {
    status: { ...review('system:serviceaccount:bookinfo:reviews').status, audiences: [] },
  },
}

function review(username: string, pod?: string, uid = ''): Review {
  const extra: Record<string, string[]> = {}
  if (pod !== undefined) {
    extra['authentication.kubernetes.io/pod-name'] = [pod]
    extra['authentication.kubernetes.io/pod-uid'] = [uid]
  }
  return { status: { authenticated: true, audiences: ['istio-ca'], user: { username, extra } } }
}

function pod(
  namespace: string,
  name: string,
  account: string,
  node: string,
  phase = 'Running',
  uid = name,
) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, uid },
    spec: { serviceAccountName: account, nodeName: node },
    status: { phase },
  }
}

async function world() {
  const kube = new MemoryKube()
  const pods = [
    pod('istio-system', 'ztunnel-a', 'ztunnel', 'node-a', 'Running', 'uid-za'),
    pod('istio-system', 'other', 'default', 'node-a', 'Running', 'uid-o'),
    pod('bookinfo', 'reviews-1', 'reviews', 'node-a'),
    pod('bookinfo', 'ratings-1', 'ratings', 'node-b'),
    pod('bookinfo', 'crashed-1', 'crashed', 'node-a', 'Failed'),
  ]
  for (const object of pods) await kube.create(resources.pods, object)
  const clock = systemClock
  const log: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn: (message, fields) => log.push(`${message} ${JSON.stringify(fields)}`),
  }
  const counts = new Map<string, number>()
  const metrics = {
    count: (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1),
    set: () => {},
  }
  const authority = new CertificateAuthority({
    client: kube.asClient(),
    namespace: 'istio-system',
    trustDomain: 'cluster.local',
    clock,
    logger,
  })
  const informer = createInformer<KubeObject>({
    client: kube.asClient(),
    gvr: resources.pods,
    clock,
    logger,
  })
  const lookup = createPodLookup(informer)
  const keeper = new ServingKeeper({
    authority,
    dnsNames: servingNames('istio-system'),
    clock,
    logger,
  })
  const server = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: true }],
    certificate: () => keeper.current,
    logger,
  })
  const reviews = {
    create: async (_gvr: unknown, object: { spec: { token: string } }) =>
      reviewOf(object.spec.token),
  }
  registerCertificateService(server, {
    authority,
    authenticate: createAuthenticator({
      client: reviews as unknown as Parameters<typeof createAuthenticator>[0]['client'], // one verb is enough
      trustDomain: 'cluster.local',
      logger,
    }),
    pods: lookup,
    trustDomain: 'cluster.local',
    clock,
    logger,
    metrics,
  })
  const parts = [authority, informer, keeper, server]
  for (const part of parts) await part.start()
  const channels: GrpcChannel[] = []
  const ask = async (
    token: string | undefined,
    impersonate?: string,
    ttlSeconds = 0,
  ): Promise<string[]> => {
    const channel = new GrpcChannel({
      address: `127.0.0.1:${server.ports[0]}`,
      serverName: 'istiod.istio-system.svc',
      roots: () => authority.rootsPem,
      headers: () => callHeaders({ ...(token && { token: () => token }), clusterId: 'Kubernetes' }),
    })
    channels.push(channel)
    const request = create(ca.IstioCertificateRequestSchema, {
      csr: await createCsr(await generateEcKeyPair(), [
        'spiffe://cluster.local/ns/kube-system/sa/root',
      ]),
      validityDuration: BigInt(ttlSeconds),
      ...(impersonate && { metadata: { ImpersonatedIdentity: impersonate } }),
    })
    return (await channel.unary(ca.IstioCertificateService.method.createCertificate, request))
      .certChain
  }
  return {
    kube,
    ask,
    address: `127.0.0.1:${server.ports[0]}`,
    log,
    counts,
    authority,
    stop: async () => {
      for (const channel of channels) channel.close()
      for (const part of parts.toReversed()) await part.stop()
    },
  }
}

function reviewOf(token: string): Review {
  return tokens[token] ?? { status: { authenticated: false, error: 'unknown token' } }
}

const id = (account: string): string => `spiffe://cluster.local/ns/bookinfo/sa/${account}`

test('a workload gets its own identity, a node proxy those of pods on its node', async () => {
  const mesh = await world()
  try {
    const [own = '', root] = await mesh.ask('reviews')
    assert.deepEqual(parseCertificate(own).uriSans, [id('reviews')])
    assert.equal(root, mesh.authority.rootsPem)
    const [impersonated = ''] = await mesh.ask('ztunnel', id('reviews'), 3600)
    assert.deepEqual(parseCertificate(impersonated).uriSans, [id('reviews')])
    const life = parseCertificate(impersonated)
    assert.equal(life.notAfter - life.notBefore, 3_720_000)
    assert.equal(mesh.counts.get('citadel_server_success_cert_issuance_count'), 2)
  } finally {
    await mesh.stop()
  }
})

test('callers without a good token, and impersonations without ground, are refused without a reason', async () => {
  const mesh = await world()
  const cases: [string | undefined, string | undefined, RegExp][] = [
    [undefined, undefined, /neither a client certificate nor a bearer token/],
    ['nonsense', undefined, /unknown token/],
    ['no-audience', undefined, /not meant for istio-ca/],
    ['not-an-account', undefined, /not for a service account/],
    ['reviews', id('ratings'), /CA_TRUSTED_NODE_ACCOUNTS/],
    ['reviews', id('reviews'), /CA_TRUSTED_NODE_ACCOUNTS/],
    ['ztunnel', id('ratings'), /no pod of bookinfo\/ratings is on node node-a/],
    ['ztunnel', id('crashed'), /no pod of bookinfo\/crashed/],
    ['ztunnel', 'spiffe://other.domain/ns/bookinfo/sa/reviews', /no SPIFFE id of cluster.local/],
    ['ztunnel-unbound', id('reviews'), /bound to a pod/],
    ['ztunnel-old', id('reviews'), /replaced by another/],
    ['ztunnel-gone', id('reviews'), /does not exist/],
    ['ztunnel-borrowed', id('reviews'), /another service account/],
  ]
  try {
    await Promise.all(
      cases.map(async ([token, identity, reason]) => {
        await assert.rejects(mesh.ask(token, identity), {
          status: grpcStatus.unauthenticated,
          message:
            identity === undefined
              ? 'request authenticate failure'
              : 'request impersonation authentication failure',
        })
        assert.ok(
          mesh.log.some((line) => reason.test(line)),
          `the log has no ${reason}: ${mesh.log}`,
        )
      }),
    )
    assert.equal(mesh.counts.get('citadel_server_authentication_failure_count'), cases.length)
    await assert.rejects(mesh.ask('reviews', undefined, 91 * 86_400), {
      status: grpcStatus.invalidArgument,
      message: /^CSR signing error \(.*maximum of 7776000 s\)$/,
    })
  } finally {
    await mesh.stop()
  }
})

test('a node proxy gets certificates from the service, and they are credentials there', async () => {
  const mesh = await world()
  const connection = {
    address: mesh.address,
    serverName: 'istiod.istio-system.svc',
    rootCa: () => mesh.authority.rootsPem,
    clusterId: 'Kubernetes',
  }
  const source = createCaClient({ ...connection, token: () => 'ztunnel' })
  const manager = new CertificateManager({ source, clock: systemClock, logger: silentLogger })
  await manager.start()
  try {
    const certificate = await manager.fetch(id('reviews'))
    assert.equal(certificate.rootsPem, mesh.authority.rootsPem)
    await assert.rejects(
      manager.fetch(id('ratings')),
      /request impersonation authentication failure/,
    )
    const channel = new GrpcChannel({
      address: mesh.address,
      serverName: connection.serverName,
      roots: connection.rootCa,
      clientCertificate: () => certificate,
    })
    const request = create(ca.IstioCertificateRequestSchema, {
      csr: await createCsr(await generateEcKeyPair(), []),
    })
    const { certChain } = await channel.unary(
      ca.IstioCertificateService.method.createCertificate,
      request,
    )
    assert.deepEqual(parseCertificate(certChain[0] ?? '').uriSans, [id('reviews')])
    channel.close()
  } finally {
    await manager.stop()
    source.close()
    await mesh.stop()
  }
})

test('a pod that appears a moment after the request is still found', async () => {
  const mesh = await world()
  try {
    const asked = mesh.ask('ztunnel', id('late'))
    await new Promise((resolve) => setTimeout(resolve, 150))
    await mesh.kube.create(resources.pods, pod('bookinfo', 'late-1', 'late', 'node-a', 'Pending'))
    const [leaf = ''] = await asked
    assert.deepEqual(parseCertificate(leaf).uriSans, [id('late')])
  } finally {
    await mesh.stop()
  }
})

test('every namespace gets the root certificate, and gets it back', async () => {
  const kube = new MemoryKube()
  const clock = systemClock
  const logger = silentLogger
  const client = kube.asClient()
  const namespace = (name: string): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name },
  })
  await kube.create(resources.namespaces, namespace('default'))
  const namespaces = createInformer<KubeObject>({
    client,
    gvr: resources.namespaces,
    clock,
    logger,
  })
  let rotated: () => void = () => {}
  const authority = {
    rootsPem: 'root one',
    onChange: (listener: () => void) => {
      rotated = listener
      return () => {}
    },
  }
  const controller = distributeRoots({ client, namespaces, authority, clock, logger })
  await namespaces.start()
  await controller.start()
  const root = async (name: string, expected: string): Promise<void> => {
    const deadline = Date.now() + 2000
    for (;;) {
      const found = await kube.get<KubeObject & { data?: Record<string, string> }>(
        resources.configmaps,
        name,
        'istio-ca-root-cert',
      )
      if (
        found?.data?.['root-cert.pem'] === expected &&
        found.metadata.labels?.['istio.io/config'] === 'true'
      )
        return
      assert.ok(Date.now() < deadline, `${name} has ${JSON.stringify(found)}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  await root('default', 'root one')
  await kube.create(resources.namespaces, namespace('bookinfo'))
  await root('bookinfo', 'root one')
  await kube.delete(resources.configmaps, 'bookinfo', 'istio-ca-root-cert')
  await root('bookinfo', 'root one')
  await kube.patch(resources.configmaps, 'default', 'istio-ca-root-cert', 'merge', {
    data: { 'root-cert.pem': 'forged' },
  } as Partial<KubeObject>)
  await root('default', 'root one')
  authority.rootsPem = 'root two'
  rotated()
  await root('default', 'root two')
  await root('bookinfo', 'root two')
  await controller.stop()
  await namespaces.stop()
})

test('the serving certificate is renewed at half of its life, also after a jump of the clock', async () => {
  const clock = new FakeClock()
  const authority = new CertificateAuthority({
    client: new MemoryKube().asClient(),
    namespace: 'istio-system',
    trustDomain: 'cluster.local',
    clock,
    logger: silentLogger,
  })
  await authority.start()
  const names = servingNames('istio-system', 'canary')
  const keeper = new ServingKeeper({ authority, dnsNames: names, clock, logger: silentLogger })
  await keeper.start()
  const first = keeper.current
  assert.deepEqual(parseCertificate(first.chainPem).dnsSans, [
    'istiod.istio-system.svc',
    'istiod-remote.istio-system.svc',
    'istio-pilot.istio-system.svc',
    'istiod-canary.istio-system.svc',
  ])
  const renewed = new Promise<void>((resolve) => keeper.onChange(() => resolve()))
  clock.advance(11 * 3_600_000)
  assert.equal(keeper.current, first)
  clock.advance(2 * 3_600_000)
  await renewed
  assert.ok(
    parseCertificate(keeper.current.chainPem).notAfter > parseCertificate(first.chainPem).notAfter,
  )
  await keeper.stop()
  await authority.stop()
})
