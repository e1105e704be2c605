import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Clock, systemClock } from '../base/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import { type Credentials, type Reply, TestServer } from './testing.ts'
import type { JsonMap } from './values.ts'

const core = '/api/v1/namespaces/default'

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 200, 'it did not come to be')
    await new Promise((done) => setTimeout(done, 10))
  }
}

describe('identity and permission', () => {
  let server: TestServer
  let aheadMs = 0
  before(async () => {
    const clock = { ...systemClock, now: () => Date.now() + aheadMs }
    server = await new TestServer({ clock }).start()
    await server.send('POST', `${core}/serviceaccounts`, { metadata: { name: 'robot' } })
    await server.send('POST', '/api/v1/nodes', { metadata: { name: 'n1' } })
  })
  after(() => server.stop())

  const requestToken = (name: string, spec: JsonMap = {}): Promise<Reply> =>
    server.send('POST', `${core}/serviceaccounts/${name}/token`, { spec })
  const tokenOf = async (name: string, spec: JsonMap = {}): Promise<string> =>
    String(((await requestToken(name, spec)).json.status as JsonMap).token)
  const review = async (token: string, audiences?: string[]): Promise<JsonMap> => {
    const spec = { token, ...(audiences === undefined ? {} : { audiences }) }
    const reply = await server.send('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { spec })
    assert.equal(reply.code, 201)
    return reply.json.status as JsonMap
  }
  const makePod = async (name: string): Promise<Reply> => {
    const spec = {
      serviceAccountName: 'robot',
      nodeName: 'n1',
      containers: [{ name: 'c', image: 'i' }],
    }
    return server.send('POST', `${core}/pods`, { metadata: { name }, spec })
  }
  const status = async (path: string, as: Credentials): Promise<number> =>
    (await server.send('GET', path, undefined, { as })).code

  test('without credentials only health, version and the token keys are open', async () => {
    const nobody = {}
    for (const path of [
      '/healthz',
      '/readyz',
      '/version',
      '/.well-known/openid-configuration',
      '/openid/v1/jwks',
    ]) {
      assert.equal(await status(path, nobody), 200, path)
    }
    for (const path of ['/api', '/apis', '/', '/api/v1/pods', '/openapi/v3', '/metrics']) {
      assert.equal(await status(path, nobody), 401, path)
    }
  })

  test('a certificate of another authority is refused', async () => {
    const keys = await generateEcKeyPair()
    const times = { notBefore: Date.now() - 1000, notAfter: Date.now() + 60_000 }
    const ca = await createCaCertificate({ keys, subject: { commonName: 'other' }, ...times })
    const certPem = await issueCertificate({
      issuer: { certificatePem: ca, key: keys.privateKey },
      publicKey: keys.publicKey,
      subject: { organizations: ['system:masters'], commonName: 'admin' },
      ...times,
    })
    assert.equal(await status('/api', { certPem, keyPem: keys.privatePem }), 401)
  })

  test('a token carries account, audience and lifetime, and is signed with the published key', async () => {
    const reply = await requestToken('robot', { audiences: ['a', 'b'], expirationSeconds: 900 })
    assert.equal(reply.code, 201)
    const token = String((reply.json.status as JsonMap).token)
    const [header, claims] = token
      .split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString())) as [JsonMap, JsonMap]
    assert.deepEqual(claims.aud, ['a', 'b'])
    assert.equal(claims.sub, 'system:serviceaccount:default:robot')
    assert.equal(Number(claims.exp) - Number(claims.iat), 900)
    const { keys } = (await server.get('/openid/v1/jwks')).json as unknown as { keys: JsonMap[] }
    assert.equal(keys[0]?.kid, header.kid)
    const short = await requestToken('robot', { expirationSeconds: 60 })
    assert.equal(short.code, 422)
    assert.match(String(short.json.message), /may not specify a duration less than 10 minutes/)
    assert.equal((await requestToken('nobody')).code, 404)
  })

  test('a review tells whose a token is, and refuses other audiences and forgeries as an answer', async () => {
    const token = await tokenOf('robot', { audiences: ['mesh'] })
    const good = await review(token, ['mesh', 'more'])
    assert.equal(good.authenticated, true)
    assert.deepEqual(good.audiences, ['mesh'])
    const { username, groups } = good.user as { username: string; groups: string[] }
    assert.equal(username, 'system:serviceaccount:default:robot')
    assert.ok(groups.includes('system:serviceaccounts:default'))
    assert.equal((await review(token, ['other'])).authenticated, false)
    assert.equal((await review(token)).authenticated, false)
    const forged = await review(`${token.slice(0, -4)}AAAA`, ['mesh'])
    assert.equal(forged.authenticated, false)
    assert.match(String(forged.error), /not signed by this server/)
  })

  test('a bound token names pod and node, and dies with the pod', async () => {
    const pod = await makePod('bound')
    assert.equal(pod.code, 201, pod.text)
    const { uid } = pod.json.metadata
    const wrong = await requestToken('robot', {
      boundObjectRef: { kind: 'Pod', name: 'bound', uid: 'other' },
    })
    assert.equal(wrong.code, 409)
    const token = await tokenOf('robot', {
      audiences: ['m'],
      boundObjectRef: { kind: 'Pod', name: 'bound', uid },
    })
    const { extra } = (await review(token, ['m'])).user as { extra: Record<string, string[]> }
    assert.deepEqual(extra['authentication.kubernetes.io/pod-uid'], [uid])
    assert.deepEqual(extra['authentication.kubernetes.io/node-name'], ['n1'])
    await server.send('DELETE', `${core}/pods/bound`, { gracePeriodSeconds: 0 })
    const dead = await review(token, ['m'])
    assert.equal(dead.authenticated, false)
    assert.match(String(dead.error), /Pod default\/bound of the token has been deleted/)
  })

  test('a token ends with its lifetime', async () => {
    const token = await tokenOf('robot', { expirationSeconds: 600 })
    assert.equal((await review(token)).authenticated, true)
    aheadMs = 601_000
    assert.equal((await review(token)).authenticated, false)
    assert.equal(await status('/api', { token }), 401)
    aheadMs = 0
  })

  test('a deleted account takes its tokens along, even when it is made again', async () => {
    await server.send('POST', `${core}/serviceaccounts`, { metadata: { name: 'brief' } })
    const token = await tokenOf('brief')
    assert.equal((await review(token)).authenticated, true)
    await server.send('DELETE', `${core}/serviceaccounts/brief`)
    await server.send('POST', `${core}/serviceaccounts`, { metadata: { name: 'brief' } })
    assert.equal((await review(token)).authenticated, false)
    assert.equal(await status('/api', { token }), 401)
  })

  test('roles open what they name, and nothing else', async () => {
    const as = { token: await tokenOf('robot') }
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    assert.equal(await status('/api', as), 200)
    const refused = await server.send('GET', `${core}/configmaps`, undefined, { as })
    assert.equal(refused.code, 403)
    assert.match(
      String(refused.json.message),
      /:default:robot" cannot list resource "configmaps" in API group "" in the namespace "default"/,
    )
    await server.send('POST', `${rbac}/namespaces/default/roles`, {
      metadata: { name: 'reader' },
      rules: [
        { apiGroups: [''], resources: ['configmaps'], verbs: ['get'], resourceNames: ['open'] },
        { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
      ],
    })
    const bound = await server.send('POST', `${rbac}/namespaces/default/rolebindings`, {
      metadata: { name: 'reader' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'default' }],
    })
    assert.equal(bound.code, 201, bound.text)
    await server.configMap('open')
    assert.equal(await status(`${core}/configmaps/open`, as), 200)
    assert.equal(await status(`${core}/configmaps/closed`, as), 403)
    assert.equal(await status(`${core}/configmaps`, as), 403)
    assert.equal(await status(`${core}/pods/x/log`, as), 404)
    assert.equal(await status(`${core}/pods/x`, as), 403)
    assert.equal(await status('/api/v1/namespaces/kube-system/configmaps/open', as), 403)
    const asked = await server.send('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      spec: {
        user: 'system:serviceaccount:default:robot',
        resourceAttributes: {
          verb: 'get',
          resource: 'configmaps',
          name: 'open',
          namespace: 'default',
        },
      },
    })
    assert.equal((asked.json.status as JsonMap).allowed, true)
    const self = {
      spec: { resourceAttributes: { verb: 'delete', resource: 'pods', namespace: 'default' } },
    }
    const own = await server.send(
      'POST',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      self,
      { as },
    )
    assert.equal((own.json.status as JsonMap).allowed, false)
  })

  test('nobody can grant more than they have', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    await server.send('POST', `${core}/serviceaccounts`, { metadata: { name: 'granter' } })
    const as = { token: await tokenOf('granter') }
    const bind = (name: string, role: string, options?: { as: Credentials }): Promise<Reply> =>
      server.send(
        'POST',
        `${rbac}/namespaces/default/rolebindings`,
        {
          metadata: { name },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
          subjects: [{ kind: 'ServiceAccount', name: 'granter', namespace: 'default' }],
        },
        options,
      )
    assert.equal((await bind('granter-admin', 'admin')).code, 201)
    const more = await bind('granter-root', 'cluster-admin', { as })
    assert.equal(more.code, 403)
    assert.match(
      String(more.json.message),
      /attempting to grant RBAC permissions not currently held/,
    )
    assert.equal((await bind('granter-view', 'view', { as })).code, 201)
    const rules = [{ apiGroups: ['example.com'], resources: ['*'], verbs: ['*'] }]
    const role = { metadata: { name: 'wide' }, rules }
    const refused = await server.send('POST', `${rbac}/namespaces/default/roles`, role, { as })
    assert.equal(refused.code, 403)
  })

  test('labelled ClusterRoles add to view, edit and admin', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    const as = { token: await tokenOf('robot') }
    await server.send('POST', `${rbac}/clusterrolebindings`, {
      metadata: { name: 'view-all' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
      subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'default' }],
    })
    const policies = '/apis/security.istio.io/v1/authorizationpolicies'
    assert.equal(await status('/api/v1/pods', as), 200)
    assert.equal(await status('/api/v1/secrets', as), 403)
    assert.equal(await status(policies, as), 403)
    await server.send('POST', `${rbac}/clusterroles`, {
      metadata: {
        name: 'istio-view',
        labels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' },
      },
      rules: [{ apiGroups: ['security.istio.io'], resources: ['*'], verbs: ['get', 'list'] }],
    })
    const rulesOf = async (name: string): Promise<string> =>
      JSON.stringify((await server.get(`${rbac}/clusterroles/${name}`)).json.rules)
    const has = (text: string): boolean => text.includes('security.istio.io')
    await until(async () => (await status(policies, as)) === 200)
    // What is part of view is part of edit, and that of admin.
    await until(async () => has(await rulesOf('admin')))
    assert.ok(has(await rulesOf('edit')))
    await server.send('DELETE', `${rbac}/clusterroles/istio-view`)
    await until(async () => (await status(policies, as)) === 403)
    await until(async () => !has(await rulesOf('admin')))
    const admin = await server.get(`${rbac}/clusterroles/admin`)
    const [manager] = (admin.json.metadata.managedFields as JsonMap[]) ?? []
    assert.equal(manager?.manager, 'clusterrole-aggregation-controller')
  })

  test('roles that are parts of each other come to rest', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    for (const [name, other] of [
      ['ring-a', 'ring-b'],
      ['ring-b', 'ring-a'],
    ]) {
      const clusterRoleSelectors = [{ matchLabels: { part: other } }]
      await server.send('POST', `${rbac}/clusterroles`, {
        metadata: { name, labels: { part: name } },
        aggregationRule: { clusterRoleSelectors },
        rules: [{ apiGroups: [name], resources: ['*'], verbs: ['get'] }],
      })
    }
    const rules = async (): Promise<unknown[]> =>
      Promise.all(
        ['ring-a', 'ring-b'].map(
          async (name) => (await server.get(`${rbac}/clusterroles/${name}`)).json.rules,
        ),
      )
    await until(async () => {
      const [a, b] = await rules()
      return JSON.stringify(a) === JSON.stringify(b)
    })
    const before = await server.get(`${rbac}/clusterroles/ring-a`)
    await new Promise((done) => setTimeout(done, 50))
    const after = await server.get(`${rbac}/clusterroles/ring-a`)
    assert.equal(after.json.metadata.resourceVersion, before.json.metadata.resourceVersion)
  })

  test('a role that does not exist can only be bound by those who may bind any', async () => {
    const as = { token: await tokenOf('granter') }
    const reply = await server.send(
      'POST',
      '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings',
      {
        metadata: { name: 'early' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'later' },
        subjects: [{ kind: 'ServiceAccount', name: 'granter', namespace: 'default' }],
      },
      { as },
    )
    assert.equal(reply.code, 404, reply.text)
  })

  test('reviews say which binding allows something, and guess nobody’s groups', async () => {
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
    const ask = async (spec: JsonMap): Promise<JsonMap> =>
      (await server.send('POST', path, { spec })).json.status as JsonMap
    const resourceAttributes = { verb: 'list', resource: 'pods', namespace: 'default' }
    const account = 'system:serviceaccount:default:granter'
    assert.deepEqual(await ask({ user: account, resourceAttributes }), {
      allowed: true,
      reason:
        'RBAC: allowed by RoleBinding "granter-admin/default" of ClusterRole "admin" ' +
        'to ServiceAccount "granter/default"',
    })
    assert.deepEqual(await ask({ user: 'nobody', resourceAttributes }), { allowed: false })
    const nonResourceAttributes = { verb: 'get', path: '/api' }
    assert.deepEqual(await ask({ user: 'jane', nonResourceAttributes }), { allowed: false })
    const groups = ['system:authenticated']
    const known = await ask({ user: 'jane', groups, nonResourceAttributes })
    assert.equal(known.allowed, true)
    const local = '/apis/authorization.k8s.io/v1/namespaces/kube-system/localsubjectaccessreviews'
    const elsewhere = { spec: { user: account, resourceAttributes } }
    const refused = await server.send('POST', local, elsewhere)
    assert.match(String(refused.json.message), /must match namespace: kube-system/)
  })

  test('the administrator can act as another user, others can not', async () => {
    const headers = { 'impersonate-user': 'jane' }
    const denied = await server.get('/api/v1/pods', headers)
    assert.match(String(denied.json.message), /User "jane" cannot list resource "pods"/)
    const as = { token: await tokenOf('robot') }
    const refused = await server.send('GET', '/api/v1/pods', undefined, { headers, as })
    assert.match(String(refused.json.message), /cannot impersonate resource "users"/)
    const review = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
    const full = {
      'impersonate-user': 'jane',
      'impersonate-group': 'devs',
      'impersonate-uid': '42',
      'impersonate-extra-scopes%2fx': 'read',
    }
    const self = await server.send('POST', review, {}, { headers: full })
    assert.deepEqual((self.json.status as JsonMap).userInfo, {
      username: 'jane',
      uid: '42',
      groups: ['devs', 'system:authenticated'],
      extra: { 'scopes/x': ['read'] },
    })
    const nameless = await server.get('/api', { 'impersonate-group': 'devs' })
    assert.equal(nameless.code, 400)
  })

  test('pods run as an account that exists, and carry its token', async () => {
    const spec = { serviceAccountName: 'missing', containers: [{ name: 'c', image: 'i' }] }
    const refused = await server.send('POST', `${core}/pods`, { metadata: { name: 'p' }, spec })
    assert.equal(refused.code, 403)
    assert.match(String(refused.json.message), /serviceaccount "missing" not found/)
    // The default account comes from a controller, a moment after the first pod may be created.
    const waiting = server.send('POST', `${core}/pods`, {
      metadata: { name: 'p' },
      spec: { ...spec, serviceAccountName: '' },
    })
    await server.send('POST', `${core}/serviceaccounts`, { metadata: { name: 'default' } })
    const pod = (await waiting).json.spec as { serviceAccountName: string; volumes: JsonMap[] }
    assert.equal(pod.serviceAccountName, 'default')
    assert.match(String(pod.volumes[0]?.name), /^kube-api-access-\w{5}$/)
  })

  test('keys are private files, and certificates are renewed when they are about to expire', async () => {
    for (const file of ['registry-ca.key', 'admin.key', 'service-accounts.key']) {
      assert.equal((await stat(join(server.dir, 'pki', file))).mode & 0o777, 0o600, file)
    }
    const read = (file: string): Promise<string> => readFile(join(server.dir, 'pki', file), 'utf8')
    const [ca, serving] = [await read('registry-ca.crt'), await read('registry.crt')]
    await server.stop(true)
    const tenMonths = 320 * 86_400_000
    server = await new TestServer({
      dir: server.dir,
      clock: { ...systemClock, now: () => Date.now() + tenMonths },
    }).start()
    assert.equal(await read('registry-ca.crt'), ca)
    const renewed = await read('registry.crt')
    assert.notEqual(renewed, serving)
    assert.ok(Date.parse(new X509Certificate(renewed).validTo) > Date.now() + tenMonths)
    await server.stop(true)
    await writeFile(join(server.dir, 'pki', 'registry.key'), 'torn')
    server = await new TestServer({ dir: server.dir }).start()
    assert.notEqual(await read('registry.crt'), renewed)
  })
})

test('a registry that runs on renews its certificates and the kubeconfig when the clock has gone ahead', async () => {
  let aheadMs = 0
  const clock: Clock = {
    ...systemClock,
    now: () => Date.now() + aheadMs,
    every: (periodMs, callback, options) =>
      systemClock.every(Math.min(periodMs, 20), callback, options),
  }
  const server = await new TestServer({ clock }).start()
  try {
    const path = join(server.dir, 'kubeconfig')
    await server.registry.writeKubeconfig(path, server.url)
    const first = { ...server.registry.adminCredentials, kubeconfig: await readFile(path, 'utf8') }
    aheadMs = 320 * 86_400_000
    for (let tries = 0; (await readFile(path, 'utf8')) === first.kubeconfig; tries++) {
      assert.ok(tries < 200, 'the kubeconfig is still the old one')
      await new Promise((done) => setTimeout(done, 10))
    }
    const { certPem } = server.registry.adminCredentials
    assert.notEqual(certPem, first.certPem)
    assert.ok(Date.parse(new X509Certificate(certPem).validTo) > Date.now() + aheadMs)
    const text = await readFile(path, 'utf8')
    assert.ok(text.includes(Buffer.from(certPem).toString('base64')))
    assert.equal((await stat(path)).mode & 0o777, 0o600)
  } finally {
    await server.stop()
  }
})
