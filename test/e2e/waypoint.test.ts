/**
 * Waypoints on a stock Envoy, as a user gets them: made with `weft waypoint`, used by labels, with routes, policies
 * and faults of both APIs, seen in metrics and logs, replaced and taken away while traffic flows.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { envoyPath } from '../../tools/envoy.ts'
import { pods } from './kit.ts'
import { cannotRun, eventually, Mesh } from './mesh.ts'
import { call, ok, prepare, waypoint } from './waypoint-kit.ts'

const subsets = ['v1', 'v3'].map(
  (version) => `
apiVersion: v1
kind: Service
metadata: {name: reviews-${version}, namespace: bookinfo}
spec: {selector: {app: reviews, version: ${version}}, ports: [{name: http, port: 9080}]}
`,
)

const canary = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: bookinfo}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{headers: [{name: x-canary, value: "yes"}]}]
    backendRefs: [{name: reviews-v3, port: 9080}]
  - backendRefs: [{name: reviews-v1, port: 9080}]
`

const onlyReading = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: details, namespace: bookinfo}
spec:
  targetRefs: [{group: "", kind: Service, name: details}]
  rules:
  - from: [{source: {principals: [cluster.local/ns/bookinfo/sa/sleep]}}]
    to: [{operation: {methods: [GET]}}]
`

const faults = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: bookinfo}
spec:
  hosts: [ratings]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: ratings}}]
  - match: [{headers: {end-user: {exact: slow}}}]
    fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: ratings}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin, namespace: bookinfo}
spec:
  hosts: [httpbin]
  http:
  - timeout: 500ms
    route: [{destination: {host: httpbin}}]
`

/** Two replicas of a gRPC service which names itself; and a client with one connection for all of its calls. */
const grpcServer = `
require('http2').createServer().on('stream', (stream) => {
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', 'x-pod': require('os').hostname() },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.resume().on('end', () => stream.end(Buffer.alloc(5)))
}).listen(9000)`
const grpcClient = `
const session = require('http2').connect('http://grpc:9000')
const call = () => new Promise((resolve, reject) => {
  const seen = {}
  session.request({ ':method': 'POST', ':path': '/shop.Cart/Get', 'content-type': 'application/grpc', te: 'trailers' })
    .on('response', (headers) => (seen.pod = headers['x-pod']))
    .on('trailers', (trailers) => (seen.status = trailers['grpc-status']))
    .on('close', () => resolve(seen)).on('error', reject).resume().end(Buffer.alloc(5))
})
const main = async () => {
  const calls = []
  for (let index = 0; index < 20; index++) calls.push(await call())
  console.log(JSON.stringify(calls))
  session.close()
}
main()`
const grpcService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'grpc', namespace: 'bookinfo' },
  spec: { selector: { app: 'grpc' }, ports: [{ name: 'grpc', port: 9000 }] },
}
const grpcDeployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'grpc', namespace: 'bookinfo' },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'grpc' } },
    template: {
      metadata: { labels: { app: 'grpc' } },
      spec: {
        containers: [{ name: 'main', image: 'busybox', command: ['node', '-e', grpcServer] }],
      },
    },
  },
}

describe('a waypoint on a stock Envoy', { skip: cannotRun() }, () => {
  let mesh: Mesh
  before(async () => {
    await envoyPath()
    mesh = await Mesh.up({})
    await prepare(mesh)
  })
  after(async () => {
    await mesh?.stop()
  })

  /** What scrapers see of the waypoint, asked for by a pod. */
  const scrape = async (): Promise<string> => {
    const [proxy] = await pods(mesh, 'bookinfo', 'gateway.networking.k8s.io/gateway-name=waypoint')
    return call(mesh, `http://${proxy?.ip}:15020/stats/prometheus`)
  }
  const log = (name: string): Promise<string> =>
    mesh.kubectlOk('logs', '-n', 'bookinfo', `deploy/${name}`, '--tail=200')

  test('[A4.10] [E30] [E31] [C51] [F5] weft waypoint apply --enroll-namespace --wait returns when it is programmed', async () => {
    assert.equal(await ok(waypoint(mesh, 'list', '-A')), 'No waypoints found.\n')
    const applied = waypoint(mesh, 'apply', '-n', 'bookinfo', '--enroll-namespace', '--wait')
    assert.equal(
      await ok(applied),
      '✅ waypoint bookinfo/waypoint applied\n' +
        '✅ waypoint bookinfo/waypoint is ready!\n' +
        '✅ namespace bookinfo labeled with "istio.io/use-waypoint: waypoint"\n',
    )
    assert.equal(
      await ok(waypoint(mesh, 'list', '-n', 'bookinfo')),
      'NAME         REVISION     TRAFFIC TYPE     PROGRAMMED\n' +
        'waypoint     default      service          True\n',
    )
    assert.match(
      await ok(waypoint(mesh, 'status', '-n', 'bookinfo')),
      /^NAME +STATUS +TYPE +REASON +MESSAGE\nwaypoint +True +Programmed +Programmed +Resource programmed/,
    )
    const again = await ok(waypoint(mesh, 'apply', '-n', 'bookinfo', '--enroll-namespace'))
    assert.match(again, /already has an enrolled Waypoint/)
    await eventually(async () => {
      const path = "-o=jsonpath={.status.conditions[?(@.type=='istio.io/WaypointBound')].status}"
      assert.equal(await mesh.kubectlOk('get', 'svc', 'reviews', '-n', 'bookinfo', path), 'True')
    })
  })

  test('[A4.11] [A1.10] [C28] [G46] an HTTPRoute sends requests with a header to the canary, through the waypoint', async () => {
    await eventually(async () => {
      assert.match(await call(mesh, 'http://reviews:9080/reviews/0', '-i'), /server: istio-envoy/)
    })
    for (const service of subsets) await mesh.apply(service)
    await mesh.apply(canary)
    const version = async (...flags: string[]): Promise<string> =>
      /reviews-v\d/.exec(await call(mesh, 'http://reviews:9080/reviews/0', ...flags))?.[0] ?? ''
    await eventually(async () => {
      assert.equal(await version('-H "x-canary: yes"'), 'reviews-v3')
      assert.equal(await version(), 'reviews-v1')
    })
    for (let round = 0; round < 5; round++) {
      assert.equal(await version('-H "x-canary: yes"'), 'reviews-v3')
      assert.equal(await version(), 'reviews-v1')
    }
  })

  test('[A4.11] the calls of one gRPC connection are spread over all replicas', async () => {
    for (const object of [grpcService, grpcDeployment]) await mesh.apply(JSON.stringify(object))
    const status = ['rollout', 'status', '-n', 'bookinfo', 'deploy/grpc', '--timeout=30s']
    await mesh.kubectlOk(...status)
    await eventually(async () => {
      const target = ['-n', 'bookinfo', 'deploy/sleep', '--', 'node', '-e', grpcClient]
      const calls = JSON.parse(await mesh.kubectlOk('exec', ...target)) as Record<string, string>[]
      assert.deepEqual(new Set(calls.map((call) => call.status)), new Set(['0']))
      const byPod = Object.groupBy(calls, (call) => call.pod ?? '')
      assert.equal(Object.keys(byPod).length, 2, JSON.stringify(byPod))
    })
    await eventually(async () => {
      const grpc =
        /istio_requests_total\{[^}]*destination_service_name="grpc"[^}]*request_protocol="grpc"/
      assert.match(await scrape(), grpc)
    })
  })

  test('[B115] [B7] [A4.19] a policy for a Service lets one account read, and nobody else do anything', async () => {
    await mesh.apply(onlyReading)
    await eventually(async () => {
      const denied = await call(mesh, 'http://details:9080/details/0', '-X DELETE')
      assert.equal(denied, '403 RBAC: access denied')
    })
    assert.match(await call(mesh, 'http://details:9080/details/0'), /^200 .*Shakespeare/)
    const line = 'curl -sS -m 8 -o /dev/null -w "%{http_code}" http://details:9080/details/0'
    const other = await mesh.exec('bookinfo', 'deploy/productpage-v1', line)
    assert.equal(other.stdout, '403')
    const path = "-o=jsonpath={.status.conditions[?(@.type=='WaypointAccepted')].status}"
    const name = ['authorizationpolicies.security.istio.io', 'details', '-n', 'bookinfo']
    assert.equal(await mesh.kubectlOk('get', ...name, path), 'True')
  })

  test('[B28] [B36] faults and timeouts of VirtualServices are those of the waypoint', async () => {
    await mesh.apply(faults)
    const ratings = 'http://ratings:9080/ratings/0'
    await eventually(async () => {
      assert.equal(await call(mesh, ratings, '-H "end-user: jason"'), '418 fault filter abort')
    })
    assert.match(await call(mesh, ratings), /^200 /)
    const begun = performance.now()
    assert.match(await call(mesh, ratings, '-H "end-user: slow"'), /^200 /)
    assert.ok(performance.now() - begun > 1_000, 'it was not delayed')
    const timedOut = await call(mesh, 'http://httpbin:8000/delay/3')
    assert.equal(timedOut, '504 upstream request timeout')
    assert.match(await call(mesh, 'http://httpbin:8000/get'), /^200 /)
  })

  test('answers on connections that close with them arrive whole', async () => {
    const line =
      'for i in $(seq 20); do curl -sS -m 8 -H "connection: close" -o /dev/null ' +
      '-w "%{http_code} %{size_download}\\n" http://httpbin:8000/bytes/102400; done | sort | uniq -c'
    const { stdout, stderr } = await mesh.exec('bookinfo', 'deploy/sleep', line)
    assert.equal(stdout.trim(), '20 200 102400', stderr)
  })

  test('[G33] requests are counted under Istio’s names with both ends, and logged', async () => {
    const wanted = {
      reporter: 'waypoint',
      source_workload: 'sleep',
      source_workload_namespace: 'bookinfo',
      source_principal: 'spiffe://cluster.local/ns/bookinfo/sa/sleep',
      source_cluster: 'Kubernetes',
      destination_workload: 'reviews-v3',
      destination_version: 'v3',
      destination_service: 'reviews.bookinfo.svc.cluster.local',
      destination_service_name: 'reviews',
      destination_service_namespace: 'bookinfo',
      destination_principal: 'spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews',
      request_protocol: 'http',
      response_code: '200',
      connection_security_policy: 'mutual_tls',
    }
    const isWanted = (series: string): boolean =>
      Object.entries(wanted).every(([label, value]) => series.includes(`${label}="${value}"`))
    await eventually(async () => {
      const lines = (await scrape()).split('\n')
      const found = lines.find((line) => line.startsWith('istio_requests_total{') && isWanted(line))
      assert.ok(found, lines.filter((line) => line.startsWith('istio_requests_total')).join('\n'))
      assert.ok(Number(found.slice(found.lastIndexOf(' '))) >= 6, found)
      const names = new Set(lines.map((line) => line.slice(0, line.indexOf('{'))))
      for (const name of [
        'istio_request_duration_milliseconds_bucket',
        'istio_request_bytes_sum',
        'istio_response_bytes_count',
      ]) {
        assert.ok(names.has(name), name)
      }
      assert.ok(lines.includes('# TYPE istio_requests_total counter'))
      assert.doesNotMatch(lines.join('\n'), /envoy_istio_istio_/)
    })
    await eventually(async () => {
      const lines = (await log('waypoint')).split('\n')
      assert.ok(
        lines.some((line) => /"DELETE \/details\/0 HTTP\/1.1" 403 - rbac_access/.test(line)),
      )
      assert.ok(lines.some((line) => /"GET \/ratings\/0 HTTP\/1.1" 418 FI fault_filter/.test(line)))
      assert.ok(lines.some((line) => /"GET \/delay\/3 HTTP\/1.1" 504 UT/.test(line)))
    })
  })

  test('a waypoint is replaced without a lost request, and Envoy’s end is the pod’s new beginning', async () => {
    const loop =
      'for i in $(seq 80); do curl -s -m 5 -o /dev/null -w "%{http_code}\\n" http://ratings:9080/ratings/0; ' +
      'sleep 0.1; done | sort | uniq -c'
    const traffic = mesh.exec('bookinfo', 'deploy/sleep', loop)
    await mesh.kubectlOk('rollout', 'restart', '-n', 'bookinfo', 'deploy/waypoint')
    await mesh.kubectlOk('rollout', 'status', '-n', 'bookinfo', 'deploy/waypoint', '--timeout=60s')
    assert.equal((await traffic).stdout.trim(), '80 200')
    const selector = 'gateway.networking.k8s.io/gateway-name=waypoint'
    // The old one is gone when its drain is over.
    await eventually(async () => assert.equal((await pods(mesh, 'bookinfo', selector)).length, 1))
    const kill = 'kill -9 $(cat /proc/[0-9]*/stat | grep "(envoy)" | cut -d" " -f1)'
    await mesh.exec('bookinfo', 'deploy/waypoint', kill)
    await eventually(async () => {
      const [proxy] = await pods(mesh, 'bookinfo', selector)
      assert.equal(proxy?.restarts, 1)
      assert.match(await call(mesh, 'http://ratings:9080/ratings/0'), /^200 /)
    })
    const previous = ['-o=jsonpath={.items[0].status.containerStatuses[0].lastState.terminated}']
    const ended = await mesh.kubectlOk('get', 'pods', '-n', 'bookinfo', '-l', selector, ...previous)
    assert.match(ended, /Envoy ended by signal SIGKILL/)
  })

  test('[D25] a renewed certificate is taken over without a new Envoy', async () => {
    const config = await mesh.kubectlOk('get', 'cm', 'istio', '-n', 'istio-system', '-o', 'json')
    const parsed = JSON.parse(config) as { data: { mesh: string } }
    parsed.data.mesh = parsed.data.mesh.replace(
      'defaultConfig:\n',
      "defaultConfig:\n  proxyMetadata: {SECRET_TTL: '20s'}\n",
    )
    await mesh.apply(JSON.stringify(parsed))
    const serial = async (): Promise<string> => {
      const line = 'curl -sS -m 5 http://127.0.0.1:15000/certs'
      const { stdout } = await mesh.exec('bookinfo', 'deploy/waypoint', line)
      return /"serial_number": "([0-9a-f]+)",\s+"subject_alt_names": \[\s+\{\s+"uri": "spiffe:/.exec(
        stdout,
      )?.[1] as string
    }
    await eventually(async () => {
      const path =
        "-o=jsonpath={.spec.template.spec.containers[0].env[?(@.name=='SECRET_TTL')].value}"
      assert.equal(await mesh.kubectlOk('get', 'deploy', 'waypoint', '-n', 'bookinfo', path), '20s')
    })
    await mesh.kubectlOk('rollout', 'status', '-n', 'bookinfo', 'deploy/waypoint', '--timeout=60s')
    const selector = 'gateway.networking.k8s.io/gateway-name=waypoint'
    await eventually(async () => assert.equal((await pods(mesh, 'bookinfo', selector)).length, 1))
    const first = await eventually(async () => {
      const found = await serial()
      assert.ok(found)
      return found
    })
    await eventually(async () => assert.notEqual(await serial(), first), 40_000)
    assert.match(await call(mesh, 'http://ratings:9080/ratings/0'), /^200 /)
    const [proxy] = await pods(mesh, 'bookinfo', selector)
    assert.equal(proxy?.restarts, 0)
  })

  test('[G46] [E32] while no waypoint runs calls fail; deleted, traffic flows directly again', async () => {
    await mesh.kubectlOk('scale', '-n', 'bookinfo', 'deploy/waypoint', '--replicas=0')
    await eventually(async () => {
      assert.match(await call(mesh, 'http://ratings:9080/ratings/0'), /^000 /)
    })
    assert.equal(
      await ok(waypoint(mesh, 'delete', 'waypoint', 'other', '-n', 'bookinfo')),
      'waypoint bookinfo/waypoint deleted\nwaypoint bookinfo/other not found\n',
    )
    await eventually(async () => {
      const answer = await call(mesh, 'http://ratings:9080/ratings/0', '-i', '-H "end-user: jason"')
      assert.match(answer, /^200 /)
      assert.doesNotMatch(answer, /istio-envoy/)
    })
    assert.equal((await waypoint(mesh, 'delete', '-n', 'bookinfo')).code, 2)
  })
})
