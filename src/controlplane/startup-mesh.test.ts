import assert from 'node:assert/strict'
import test from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { resources } from '../kube/index.ts'
import { defaultMeshSettings } from '../model/index.ts'
import { FakeKube } from './fixture.ts'
import { settingsAtStart } from './startup-mesh.ts'

const put = (kube: FakeKube, name: string, mesh: string): void => {
  const metadata = { name, namespace: 'istio-system' }
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { mesh } }
  kube.put(resources.configmaps, object)
}

test('the trust domain that certificates are signed for comes from MeshConfig', async () => {
  const kube = new FakeKube()
  const options = { client: kube.client, clock: systemClock, logger: silentLogger }
  const settings = { ...defaultMeshSettings, sharedMeshConfig: 'shared' }
  assert.equal((await settingsAtStart(settings, options)).trustDomain, 'cluster.local')
  put(kube, 'shared', 'trustDomain: shared.org')
  assert.equal((await settingsAtStart(settings, options)).trustDomain, 'shared.org')
  put(kube, 'istio', 'trustDomain: own.org')
  assert.equal((await settingsAtStart(settings, options)).trustDomain, 'own.org')
  // What can't be read is as good as absent.
  put(kube, 'istio', 'trustDomain: [')
  assert.equal((await settingsAtStart(settings, options)).trustDomain, 'shared.org')
  const canary = { ...settings, revision: 'canary' }
  put(kube, 'istio-canary', 'trustDomain: canary.org')
  assert.equal((await settingsAtStart(canary, options)).trustDomain, 'canary.org')
})

test('it waits for an API server that is not there yet, and gives up when told to', async () => {
  const kube = new FakeKube()
  let failures = 2
  const client = Object.assign(Object.create(kube.client), {
    get: async (...args: Parameters<FakeKube['get']>) => {
      if (failures-- > 0) throw new Error('connection refused')
      return kube.get(...args)
    },
  })
  const options = { client, clock: systemClock, logger: silentLogger }
  assert.equal((await settingsAtStart(defaultMeshSettings, options)).trustDomain, 'cluster.local')
  failures = Number.POSITIVE_INFINITY
  const abort = new AbortController()
  const waiting = settingsAtStart(defaultMeshSettings, { ...options, signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough|connection refused/)
})
