/** A stock Envoy in a mesh without root: as a gateway that ends TLS, as a waypoint, and missing. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { envoyPath } from '../../tools/envoy.ts'
import { pods } from './kit.ts'
import { cannotRun, eventually, Mesh } from './mesh.ts'
import { call, ok, prepare, waypoint } from './waypoint-kit.ts'

const gateway = (name: string, engine: string, more = '') => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: bookinfo, annotations: {weft.dev/engine: ${engine}}}
spec:
  gatewayClassName: istio
${more}  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - name: https
    port: 443
    protocol: HTTPS
    hostname: shop.example
    tls: {certificateRefs: [{name: edge}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: bookinfo}
spec:
  parentRefs: [{name: ${name}}]
  hostnames: [shop.example]
  rules: [{backendRefs: [{name: details, port: 9080}]}]
`

/** An overlay that lets the pod look for its Envoy where there is none. */
const withoutEnvoy = `
apiVersion: v1
kind: ConfigMap
metadata: {name: without-envoy, namespace: bookinfo}
data:
  deployment: |
    spec:
      template:
        spec:
          containers:
          - name: istio-proxy
            env: [{name: ENVOY_PATH, value: /nowhere/envoy}]
`

describe('gateways on a stock Envoy, without root', { skip: cannotRun() }, () => {
  let mesh: Mesh
  before(async () => {
    await envoyPath()
    mesh = await Mesh.up({ user: 'nobody' })
    await prepare(mesh)
  })
  after(async () => {
    await mesh?.stop()
  })

  /** Makes a key and a certificate, and puts both into the Secret. */
  const certify = async (organization: string): Promise<void> => {
    const files = ['-keyout', 'tls.key', '-out', 'tls.crt', '-days', '2', '-nodes']
    const subject = ['-subj', `/O=${organization}`, '-addext', 'subjectAltName=DNS:shop.example']
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    const made = await mesh.run('openssl', ['req', '-x509', ...key, ...files, ...subject])
    assert.equal(made.code, 0, made.stderr)
    const create = ['create', 'secret', 'tls', 'edge', '-n', 'bookinfo', '--dry-run=client']
    const yaml = await mesh.kubectlOk(...create, '--cert=tls.crt', '--key=tls.key', '-o', 'yaml')
    await mesh.apply(yaml, '--server-side')
  }

  test('[B65] [C15] a gateway annotated for Envoy ends TLS, and takes a new certificate while it serves', async () => {
    await certify('first')
    await mesh.apply(gateway('edge', 'envoy'))
    const wait = ['--for=condition=Programmed', 'gateway/edge', '-n', 'bookinfo', '--timeout=60s']
    await mesh.kubectlOk('wait', ...wait)
    const port = await eventually(async () => {
      const { stdout } = await mesh.weft(['status', '--name', mesh.name])
      const found = /bookinfo\/edge-istio:443: *127\.0\.0\.1:(\d+)/.exec(stdout)?.[1]
      assert.ok(found, stdout)
      return found
    })
    const to = ['--resolve', `shop.example:${port}:127.0.0.1`, `https://shop.example:${port}`]
    const fetch = async (): Promise<string> => {
      const { stdout, stderr } = await mesh.run('curl', [
        '-sSkv',
        `${to[2]}/details/0`,
        ...to.slice(0, 2),
      ])
      return stderr + stdout
    }
    await eventually(async () => {
      const seen = await fetch()
      assert.match(seen, /subject: O=first/)
      assert.match(seen, /TLSv1\.3/)
      assert.match(seen, /< HTTP\/2 200/)
      assert.match(seen, /Shakespeare/)
    })
    const selector = 'gateway.networking.k8s.io/gateway-name=edge'
    const before = await pods(mesh, 'bookinfo', selector)
    await certify('second')
    await eventually(async () => assert.match(await fetch(), /subject: O=second[^]*HTTP\/2 200/))
    assert.deepEqual(await pods(mesh, 'bookinfo', selector), before)
  })

  test('[C51] a waypoint serves pods of a mesh without root', async () => {
    await ok(waypoint(mesh, 'apply', '-n', 'bookinfo', '--enroll-namespace', '--wait'))
    await eventually(async () => {
      const answer = await call(mesh, 'http://httpbin:8000/get', '-i')
      assert.match(answer, /^200 [^]*server: istio-envoy/)
    })
  })

  test('without an Envoy a waypoint is not ready, and pod, command and status say why', async () => {
    await mesh.apply(withoutEnvoy)
    const yaml = await ok(waypoint(mesh, 'generate', '-n', 'bookinfo', '--name', 'lost'))
    const parameters =
      '  infrastructure:\n    parametersRef: {group: "", kind: ConfigMap, name: without-envoy}\n'
    await mesh.apply(yaml.replace('spec:\n', `spec:\n${parameters}`))
    const selector = 'gateway.networking.k8s.io/gateway-name=lost'
    await eventually(async () => {
      const [pod] = await pods(mesh, 'bookinfo', selector)
      assert.ok((pod?.restarts ?? 0) > 0)
    })
    const asked = ['--waypoint-timeout', '1s', '-n', 'bookinfo']
    const { code, stdout, stderr } = await waypoint(mesh, 'status', ...asked)
    assert.equal(code, 1)
    assert.match(stdout, /lost +False +Programmed +AddressNotAssigned .*no instances found/)
    assert.match(stderr, /there is none: looked for \/nowhere\/envoy\. Run "weft tools envoy"/)
    const described = await mesh.kubectlOk('describe', 'pod', '-n', 'bookinfo', '-l', selector)
    assert.match(described, /Message: +this proxy is to run on Envoy, and there is none/)
  })
})
