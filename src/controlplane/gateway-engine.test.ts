import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gatewayController, meshController } from '../translate/index.ts'
import { readConfig } from './config.ts'
import type { GatewayObject, TemplateInput } from './gateway-input.ts'
import { deployedObjects } from './gateway-template.ts'

function input(more: Partial<TemplateInput>, annotations: Record<string, string> = {}) {
  const gateway: GatewayObject = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'edge', namespace: 'shop', annotations },
    spec: { gatewayClassName: 'istio' },
  }
  return {
    gateway,
    controller: gatewayController,
    listeners: [],
    config: readConfig({}),
    trustDomain: 'cluster.local',
    network: '',
    classAnnotations: {},
    proxyConfig: {},
    ...more,
  }
}

/** The variables of the proxy that is deployed. */
function environment(of: TemplateInput): Record<string, unknown> {
  const { spec } = deployedObjects(of).deployment as {
    spec?: {
      template: { spec: { containers: { env: { name: string; value?: string }[] }[] } }
    }
  }
  const [container] = spec?.template.spec.containers ?? []
  return Object.fromEntries(container?.env.map(({ name, value }) => [name, value]) ?? [])
}

test('the engine is the Gateway’s, else its class’s, else the mesh’s, else what suits the class', () => {
  const mesh = { proxyConfig: { proxyMetadata: { WEFT_ENGINE: 'envoy' } } }
  const ofClass = { classAnnotations: { 'weft.dev/engine': 'weft' } }
  const engine = (more: Partial<TemplateInput>, annotations?: Record<string, string>): unknown =>
    environment(input(more, annotations)).WEFT_ENGINE
  assert.equal(engine({}), 'weft')
  assert.equal(engine({ controller: meshController }), 'envoy')
  assert.equal(engine(mesh), 'envoy')
  assert.equal(engine({ ...mesh, ...ofClass }), 'weft')
  assert.equal(engine({ ...mesh, ...ofClass }, { 'weft.dev/engine': 'envoy' }), 'envoy')
})

test('proxyMetadata becomes variables of the proxy, and its threads and drain time go with them', () => {
  const proxyConfig = {
    concurrency: 4,
    terminationDrainDuration: '12s',
    proxyMetadata: { SECRET_TTL: '3600s' },
  }
  const { SECRET_TTL: ttl, PROXY_CONFIG: config } = environment(input({ proxyConfig }))
  assert.equal(ttl, '3600s')
  assert.deepEqual(JSON.parse(String(config)), {
    discoveryAddress: 'istiod.istio-system.svc:15012',
    concurrency: 4,
    terminationDrainDuration: '12s',
  })
})
