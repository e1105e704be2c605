/**
 * The control plane on the real registry, with the real kubectl: a waypoint is deployed by the controllers, a
 * test in the role of the kubelet makes its pod ready, and `kubectl wait` sees it programmed.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Component, silentLogger, systemClock } from '../../src/base/index.ts'
import { type ClosableKubeClient, createKubeClient } from '../../src/client/index.ts'
import { createControllers } from '../../src/controllers/index.ts'
import { ControlPlane } from '../../src/controlplane/app.ts'
import { readConfig } from '../../src/controlplane/config.ts'
import { RegistryHarness } from './harness.ts'

let harness: RegistryHarness
let client: ClosableKubeClient
let controllers: Component
let controlPlane: ControlPlane

before(async () => {
  harness = await RegistryHarness.start()
  const { registry } = harness
  client = createKubeClient({
    server: harness.url,
    caPem: () => registry.caCertificatePem,
    certificate: () => registry.adminCredentials,
    clock: systemClock,
  })
  const common = { client, clock: systemClock, logger: silentLogger }
  controllers = createControllers({ ...common, caPem: registry.caCertificatePem })
  await controllers.start()
  await harness.kubectl('create namespace shop')
  const config = readConfig({}, ['discovery', '--secureGRPCAddr=127.0.0.1:0', '--grpcAddr=:0'])
  controlPlane = new ControlPlane({
    ...common,
    config: { ...config, httpPort: 0, readyPort: 0 },
    host: '127.0.0.1',
  })
  await controlPlane.start()
})

after(async () => {
  await controlPlane?.stop(1000)
  await controllers?.stop()
  client?.close()
  await harness?.stop()
})

const waypoint = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: shop }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`

/** Makes every pod of the namespace ready, as a kubelet would. */
async function makePodsReady(): Promise<void> {
  for (let tries = 0; ; tries++) {
    const pods = await harness.kubectl('get pods -n shop -o name')
    if (pods.trim() !== '') {
      const status = {
        phase: 'Running',
        podIP: '10.244.0.40',
        podIPs: [{ ip: '10.244.0.40' }],
        conditions: ['Ready', 'ContainersReady', 'Initialized', 'PodScheduled'].map((type) => ({
          type,
          status: 'True',
        })),
      }
      const patch = JSON.stringify({ status })
      for (const pod of pods.trim().split('\n')) {
        const args = [
          'patch',
          pod,
          '-n',
          'shop',
          '--subresource=status',
          '--type=merge',
          '-p',
          patch,
        ]
        const outcome = await harness.run(args)
        assert.equal(outcome.code, 0, outcome.stderr)
      }
      return
    }
    assert.ok(tries < 100, 'no pod of the waypoint')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('kubectl wait sees a waypoint programmed when its pod is ready [C22] [C24] [C51]', async () => {
  await harness.kubectl('apply -f -', waypoint)
  const wait = (seconds: number) =>
    harness.run([
      'wait',
      'gateway/waypoint',
      '-n',
      'shop',
      '--for=condition=programmed',
      `--timeout=${seconds}s`,
    ])
  assert.notEqual((await wait(1)).code, 0, 'programmed without a pod')
  await makePodsReady()
  const outcome = await wait(15)
  assert.equal(outcome.code, 0, outcome.stderr)
  const read = 'get gateway waypoint -n shop -o jsonpath='
  assert.match(
    await harness.kubectl(`${read}{.status.addresses[*].value}`),
    /^10\..* waypoint\.shop/,
  )
  const owned = await harness.kubectl(
    'get deployment,service,serviceaccount waypoint -n shop -o name',
  )
  assert.deepEqual(owned.trim().split('\n'), [
    'deployment.apps/waypoint',
    'service/waypoint',
    'serviceaccount/waypoint',
  ])
})

test('fields that kubectl changes come back, and all goes with the Gateway [C3]', async () => {
  const patch = '{"spec":{"template":{"spec":{"serviceAccountName":"stolen"}}}}'
  await harness.kubectl(`patch deployment waypoint -n shop -p ${patch}`)
  const account =
    'get deployment waypoint -n shop -o jsonpath={.spec.template.spec.serviceAccountName}'
  for (let tries = 0; (await harness.kubectl(account)) !== 'waypoint'; tries++) {
    assert.ok(tries < 100, 'the account is not put back')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const managers = await harness.kubectl(
    'get deployment waypoint -n shop --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}',
  )
  assert.match(managers, /istio\.io\/gateway-controller/)
  await harness.kubectl('delete gateway waypoint -n shop')
  const gone = await harness.run([
    'wait',
    '--for=delete',
    'deployment/waypoint',
    'service/waypoint',
    '-n',
    'shop',
    '--timeout=15s',
  ])
  assert.equal(gone.code, 0, gone.stderr)
})
