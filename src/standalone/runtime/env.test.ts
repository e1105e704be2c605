import assert from 'node:assert/strict'
import test from 'node:test'
import { expand, resolveEnv, serviceEnv } from './env.ts'
import { fieldText } from './fields.ts'
import type { Container, DataObject, Pod, Service } from './types.ts'

const data: Record<string, DataObject> = {
  'ns/settings': {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings' },
    data: { color: 'red', size: '7' },
  },
}
const secret: DataObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'keys' },
  data: { token: Buffer.from('s3cret').toString('base64') },
}
const services: Service[] = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'my-db', namespace: 'ns' },
    spec: { clusterIP: '10.96.3.4', ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }] },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'headless', namespace: 'ns' },
    spec: { clusterIP: 'None', ports: [{ port: 1 }] },
  },
]
const sources = {
  configMap: async (namespace: string, name: string) => data[`${namespace}/${name}`],
  secret: async (_namespace: string, name: string) => (name === 'keys' ? secret : undefined),
  services: () => services,
}
const addresses = { podIp: '10.244.0.12', hostIp: '10.244.0.1' }

function podOf(container: Partial<Container>): { pod: Pod; container: Container } {
  const full = { name: 'c', ...container }
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u', labels: { app: 'x' } },
    spec: { containers: [full], nodeName: 'weft' },
  }
  return { pod, container: full }
}

async function envOf(container: Partial<Container>): Promise<Map<string, string>> {
  const subject = podOf(container)
  return resolveEnv({ ...subject, addresses, image: { A: 'image' }, hostname: 'p' }, sources)
}

test('env comes from literals, fields, resources, ConfigMaps and Secrets, later ones winning', async () => {
  const env = await envOf({
    envFrom: [{ prefix: 'CM_', configMapRef: { name: 'settings' } }],
    resources: { limits: { cpu: '1500m', memory: '64Mi' } },
    env: [
      { name: 'A', value: 'own' },
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
      { name: 'KEY', valueFrom: { secretKeyRef: { name: 'keys', key: 'token' } } },
      { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
      {
        name: 'MEM',
        valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } },
      },
      { name: 'URL', value: 'http://$(IP):80/$(CM_color)/$(NONE)/$$(IP)' },
      {
        name: 'OPT',
        valueFrom: { configMapKeyRef: { name: 'none', key: 'x', optional: true } },
      },
    ],
  })
  assert.equal(env.get('A'), 'own')
  assert.equal(env.get('APP'), 'x')
  assert.equal(env.get('KEY'), 's3cret')
  assert.equal(env.get('CPU'), '2')
  assert.equal(env.get('MEM'), '64')
  assert.equal(env.get('URL'), 'http://10.244.0.12:80/red/$(NONE)/$(IP)')
  assert.equal(env.has('OPT'), false)
  assert.equal(env.get('MY_DB_SERVICE_PORT_SQL'), '5432')
})

test('a missing ConfigMap or key is a config error which names it', async () => {
  await assert.rejects(envOf({ envFrom: [{ configMapRef: { name: 'none' } }] }), {
    reason: 'CreateContainerConfigError',
    message: 'configmap "none" not found',
  })
  const valueFrom = { configMapKeyRef: { name: 'settings', key: 'shape' } }
  await assert.rejects(
    envOf({ env: [{ name: 'X', valueFrom }] }),
    /key shape in configmap ns\/settings/,
  )
})

test('service variables have the link form, and only the API server without links', () => {
  const all = serviceEnv(services, 'ns', true)
  assert.equal(all.get('MY_DB_PORT_5432_TCP_ADDR'), '10.96.3.4')
  assert.equal(all.get('KUBERNETES_PORT'), 'tcp://10.96.0.1:443')
  assert.equal(all.has('HEADLESS_SERVICE_HOST'), false)
  const few = serviceEnv(services, 'ns', false)
  assert.deepEqual(
    [...few.keys()].filter((name) => !name.startsWith('KUBERNETES')),
    [],
  )
})

test('expansion leaves what it does not know', () => {
  const env = new Map([['A', '1']])
  assert.equal(expand('$(A)$A$$$(B)$()', env), '1$A$$(B)$()')
})

test('the downward API writes labels one a line, quoted', () => {
  const { pod } = podOf({})
  pod.metadata.labels = { b: '2', a: 'x"y' }
  assert.equal(fieldText(pod, 'metadata.labels', addresses), 'a="x\\"y"\nb="2"')
})
