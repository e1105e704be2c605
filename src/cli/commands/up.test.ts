import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MeshHandle } from '../../standalone/index.ts'
import { checkSameFlags } from './up.ts'

const status: MeshHandle['status'] = {
  name: 'two',
  state: 'running',
  pid: 1,
  mode: 'rootless',
  version: '1',
  startedAt: undefined,
  stateDirectory: '/s',
  kubeconfig: '/s/kubeconfig',
  registryUrl: 'https://127.0.0.1:6443',
  ingressUrl: 'http://127.0.0.1:80',
  listeners: [],
  startedWith: { hostAccess: false, hostPathPrefixes: ['/srv'], catalogFile: undefined },
  restarts: 0,
}
const defaults = { registryPort: 6443, ingressPort: 8080, allowHostPath: [] }

test('up on a running mesh is happy with defaults and with the same values', () => {
  checkSameFlags(status, defaults, new Set())
  checkSameFlags(
    status,
    { ...defaults, ingressPort: 80, rootless: true, allowHostPath: ['/srv'] },
    new Set(['registryPort', 'ingressPort', 'rootless', 'allowHostPath']),
  )
})

test('up on a running mesh names every flag that it can not change, and the way out', () => {
  const asked = { ...defaults, ingressPort: 8080, root: true, hostAccess: true, images: 'my.yaml' }
  assert.throws(
    () => checkSameFlags(status, asked, new Set(['ingressPort', 'root', 'hostAccess', 'images'])),
    {
      code: 'CLI_RUNNING_DIFFERENT',
      message: /"two" .*--ingress-port, --root, --host-access, --images/,
      hint: /weft down --name two/,
    },
  )
})
