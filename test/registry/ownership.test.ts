/** Field ownership as kubectl leaves it: client-side apply, the step to server-side apply, scale, and permissions. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { stringify } from 'yaml'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { patching, WebhookServer } from '../../src/registry/admission/webhooks/testing.ts'
import { RegistryHarness } from './harness.ts'

interface Entry {
  readonly manager: string
  readonly operation: string
  readonly subresource?: string
  readonly apiVersion: string
  readonly time: string
  readonly fieldsV1: Record<string, unknown>
}

const deployment = (replicas: number | undefined, image = 'a:1'): string =>
  stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'web', image, ports: [{ containerPort: 80 }] }] },
      },
    },
  })

const byText = (left: string, right: string): number => (left < right ? -1 : 1)

for (const version of ['1.32', '1.35'] as const satisfies readonly KubectlVersion[]) {
  describe(`field owners with kubectl ${version}`, () => {
    let harness: RegistryHarness
    before(async () => {
      harness = await RegistryHarness.start(version)
    })
    after(() => harness.stop())

    const managers = async (): Promise<Entry[]> => {
      const text = await harness.kubectl('get deployment web -o json --show-managed-fields')
      return (
        (JSON.parse(text) as { metadata: { managedFields?: Entry[] } }).metadata.managedFields ?? []
      )
    }
    const annotation = async (): Promise<string> => {
      const text = await harness.kubectl('get deployment web -o json')
      const { metadata } = JSON.parse(text) as { metadata: { annotations: Record<string, string> } }
      return metadata.annotations['kubectl.kubernetes.io/last-applied-configuration'] ?? ''
    }

    test('a client-side apply owns what it and the defaults say, and no structure that is always there', async () => {
      await harness.kubectl('apply -f -', deployment(2))
      const [only, ...others] = await managers()
      assert.deepEqual(others, [])
      assert.equal(only?.manager, 'kubectl-client-side-apply')
      assert.equal(only?.operation, 'Update')
      assert.equal(only?.apiVersion, 'apps/v1')
      assert.deepEqual(only?.fieldsV1, {
        'f:metadata': {
          'f:annotations': {
            '.': {},
            'f:kubectl.kubernetes.io/last-applied-configuration': {},
          },
        },
        'f:spec': {
          'f:progressDeadlineSeconds': {},
          'f:replicas': {},
          'f:revisionHistoryLimit': {},
          'f:selector': {},
          'f:strategy': {
            'f:rollingUpdate': { '.': {}, 'f:maxSurge': {}, 'f:maxUnavailable': {} },
            'f:type': {},
          },
          'f:template': {
            'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
            'f:spec': {
              'f:containers': {
                'k:{"name":"web"}': {
                  '.': {},
                  'f:image': {},
                  'f:imagePullPolicy': {},
                  'f:name': {},
                  'f:ports': {
                    '.': {},
                    'k:{"containerPort":80,"protocol":"TCP"}': {
                      '.': {},
                      'f:containerPort': {},
                      'f:protocol': {},
                    },
                  },
                  'f:resources': {},
                  'f:terminationMessagePath': {},
                  'f:terminationMessagePolicy': {},
                },
              },
              'f:dnsPolicy': {},
              'f:restartPolicy': {},
              'f:schedulerName': {},
              'f:securityContext': {},
              'f:terminationGracePeriodSeconds': {},
            },
          },
        },
      })
    })

    test('the first server-side apply takes over what kubectl applied before, and keeps the annotation', async () => {
      const output = await harness.kubectl('apply --server-side -f -', deployment(3))
      assert.match(output, /deployment.apps\/web serverside-applied/)
      const names = (await managers()).map(({ manager, operation }) => `${manager} ${operation}`)
      // They are listed by time, which may be a second apart.
      assert.deepEqual(names.toSorted(byText), ['kubectl Apply', 'kubectl-last-applied Apply'])
      assert.equal(
        (JSON.parse(await annotation()) as { spec: { replicas: number } }).spec.replicas,
        3,
      )
      // What is no longer stated goes, which it would not if the old manager still owned it.
      await harness.kubectl('apply --server-side -f -', deployment(undefined))
      assert.equal(await harness.kubectl('get deployment web -o jsonpath={.spec.replicas}'), '1')
    })

    test('and the way back to client-side apply is open', async () => {
      await harness.kubectl('apply -f -', deployment(2, 'a:2'))
      const output = await harness.kubectl('apply -f -', deployment(2, 'a:2'))
      assert.match(output, /unchanged/)
    })

    test('a conflict names owner and field; force takes them', async () => {
      const apply = (...more: string[]) =>
        harness.run(
          ['apply', '--server-side', '--field-manager=other', ...more, '-f', '-'],
          deployment(5, 'a:2'),
        )
      const refused = await apply()
      assert.equal(refused.code, 1)
      assert.match(
        refused.stderr,
        /Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps\/v1: .spec.replicas/,
      )
      assert.equal((await apply('--force-conflicts')).code, 0)
      const owners = (await managers()).filter(({ fieldsV1 }) =>
        Object.hasOwn((fieldsV1['f:spec'] ?? {}) as object, 'f:replicas'),
      )
      assert.deepEqual(
        owners.map(({ manager }) => manager),
        ['other'],
      )
    })

    test('scale owns the replicas through its own subresource', async () => {
      await harness.kubectl('scale deployment web --replicas=7')
      const scaled = (await managers()).find(({ subresource }) => subresource === 'scale')
      assert.equal(scaled?.operation, 'Update')
      assert.deepEqual(scaled?.fieldsV1, { 'f:spec': { 'f:replicas': {} } })
      const refused = await harness.run(
        ['apply', '--server-side', '--field-manager=other', '-f', '-'],
        deployment(5, 'a:2'),
      )
      assert.match(
        refused.stderr,
        /conflict with "kubectl" with subresource "scale" using apps\/v1: .spec.replicas/,
      )
    })

    test('times move with what they are about, and an empty entry forgets all managers', async () => {
      const before = await managers()
      await new Promise((done) => setTimeout(done, 1100))
      await harness.kubectl('label deployment web tier=front')
      const after = await managers()
      for (const entry of before) {
        const same = after.find(
          ({ manager, subresource }) =>
            manager === entry.manager && subresource === entry.subresource,
        )
        assert.equal(same?.time, entry.time, entry.manager)
      }
      const label = after.find(({ manager }) => manager === 'kubectl-label')
      assert.deepEqual(label?.fieldsV1, { 'f:metadata': { 'f:labels': { '.': {}, 'f:tier': {} } } })
      const patch = JSON.stringify({ metadata: { managedFields: [{}] } })
      await harness.run(['patch', 'deployment', 'web', '--type=merge', '-p', patch])
      assert.deepEqual(await managers(), [])
    })

    test('a webhook changes what kubectl applies, and its denial is what the user reads', async () => {
      const hook = await WebhookServer.start()
      hook.answer = ({ request }) => {
        const { metadata } = request.object as { metadata: { name: string } }
        if (metadata.name === 'bad') return { allowed: false, status: { message: 'bad name' } }
        return {
          ...patching({ op: 'add', path: '/data/added', value: 'by webhook' }),
          warnings: ['seen by a webhook'],
        }
      }
      const configuration = stringify({
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'MutatingWebhookConfiguration',
        metadata: { name: 'hook' },
        webhooks: [
          {
            name: 'hook.example.com',
            clientConfig: hook.client(),
            rules: [
              {
                apiGroups: [''],
                apiVersions: ['v1'],
                resources: ['configmaps'],
                operations: ['CREATE', 'UPDATE'],
              },
            ],
            admissionReviewVersions: ['v1'],
            sideEffects: 'None',
          },
        ],
      })
      const applied = await harness.run(['apply', '-f', '-'], configuration)
      assert.deepEqual([applied.code, applied.stderr], [0, ''])
      const map = (name: string): string =>
        stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { a: '1' } })
      for (const more of [[], ['--server-side']]) {
        const good = await harness.run(['apply', ...more, '-f', '-'], map(`good${more.length}`))
        assert.equal(good.code, 0, good.stderr)
        assert.match(good.stderr, /Warning: seen by a webhook/)
        const again = await harness.run(['apply', ...more, '-f', '-'], map(`good${more.length}`))
        assert.equal(again.code, 0, again.stderr)
      }
      const data = await harness.kubectl('get configmap good0 -o jsonpath={.data.added}')
      assert.equal(data, 'by webhook')
      const dry = await harness.kubectl(
        'apply --dry-run=server -o jsonpath={.data} -f -',
        map('dry'),
      )
      assert.match(dry, /by webhook/)
      const bad = await harness.run(['apply', '-f', '-'], map('bad'))
      assert.match(bad.stderr, /admission webhook "hook.example.com" denied the request: bad name/)
      await harness.kubectl('delete mutatingwebhookconfiguration hook')
      hook.stop()
    })

    test('a webhook can keep people out of a pod', async () => {
      const hook = await WebhookServer.start()
      const configuration = stringify({
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingWebhookConfiguration',
        metadata: { name: 'no-shell' },
        webhooks: [
          {
            name: 'no-shell.example.com',
            clientConfig: hook.client(),
            rules: [
              {
                apiGroups: [''],
                apiVersions: ['v1'],
                resources: ['pods/exec'],
                operations: ['CONNECT'],
              },
            ],
            matchConditions: [
              { name: 'shells', expression: "object.command.exists(c, c.endsWith('sh'))" },
            ],
            admissionReviewVersions: ['v1'],
            sideEffects: 'None',
          },
        ],
      })
      hook.answer = () => ({ allowed: false, status: { message: 'no shells here' } })
      await harness.kubectl('create serviceaccount default')
      await harness.kubectl('run solo --image=curl')
      await harness.kubectl('apply -f -', configuration)
      const echo = await harness.run(['exec', 'solo', '--', 'echo', 'hello'])
      assert.equal(echo.stdout, 'hello\n', echo.stderr)
      const shell = await harness.run(['exec', 'solo', '--', 'sh', '-c', 'echo hello'])
      assert.equal(shell.stdout, '')
      assert.match(shell.stderr, /"no-shell.example.com" denied the request: no shells here/)
      const request = hook.seen[0]?.request
      assert.deepEqual(request?.kind, { group: '', version: 'v1', kind: 'PodExecOptions' })
      const asked = request?.object as { command: string[] } | undefined
      assert.deepEqual(asked?.command, ['sh', '-c', 'echo hello'])
      await harness.kubectl('delete validatingwebhookconfiguration no-shell')
      hook.stop()
    })

    test('what is not enforced is refused, or said', async () => {
      const policy = await harness.run(
        ['apply', '-f', '-'],
        stringify({
          apiVersion: 'admissionregistration.k8s.io/v1',
          kind: 'ValidatingAdmissionPolicy',
          metadata: { name: 'p' },
          spec: { validations: [{ expression: 'true' }] },
        }),
      )
      assert.equal(policy.code, 1)
      assert.match(
        policy.stderr,
        /spec: Forbidden: admission policies are not evaluated in standalone mode/,
      )
      const service = await harness.run(
        ['apply', '-f', '-'],
        stringify({
          apiVersion: 'apiregistration.k8s.io/v1',
          kind: 'APIService',
          metadata: { name: 'v1.x.example.com' },
          spec: {
            group: 'x.example.com',
            version: 'v1',
            groupPriorityMinimum: 1000,
            versionPriority: 15,
            service: { name: 'x', namespace: 'default' },
          },
        }),
      )
      assert.equal(service.code, 1)
      assert.match(
        service.stderr,
        /standalone mode serves APIs itself; APIService spec.service is not supported/,
      )
      const quota = await harness.run(['create', 'quota', 'q', '--hard=pods=1'])
      assert.equal(quota.code, 0)
      assert.match(quota.stderr, /Warning: a ResourceQuota is stored but not enforced/)
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
      const namespace = await harness.run(
        ['apply', '-f', '-'],
        stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'safe', labels } }),
      )
      assert.match(namespace.stderr, /Warning: .*pod security is not enforced/)
    })

    test('auth: can-i --list, whoami and reconcile tell and set permissions', async () => {
      const list = await harness.kubectl('auth can-i --list --as=jane --as-group=devs')
      assert.match(
        list,
        /selfsubjectaccessreviews\.authorization\.k8s\.io\s+\[\]\s+\[\]\s+\[create\]/,
      )
      assert.match(list, /\[\/api\/\*\]\s+\[\]\s+\[get\]/)
      const no = await harness.run(['auth', 'can-i', 'list', 'pods', '--as=jane'])
      assert.deepEqual([no.code, no.stdout], [1, 'no\n'])
      const whoami = await harness.kubectl(
        'auth whoami -o json --as=jane --as-group=devs --as-uid=7',
      )
      const { status } = JSON.parse(whoami) as { status: { userInfo: object } }
      assert.deepEqual(status.userInfo, {
        username: 'jane',
        uid: '7',
        groups: ['devs', 'system:authenticated'],
      })
      const rules = (verbs: string[]): string =>
        [
          {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'Role',
            metadata: { name: 'reader', namespace: 'default' },
            rules: [{ apiGroups: [''], resources: ['pods'], verbs }],
          },
          {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'RoleBinding',
            metadata: { name: 'reader', namespace: 'default' },
            roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
            subjects: [{ kind: 'User', name: 'jane', apiGroup: 'rbac.authorization.k8s.io' }],
          },
        ]
          .map((object) => stringify(object))
          .join('---\n')
      await harness.kubectl('auth reconcile -f -', rules(['get']))
      const again = await harness.kubectl('auth reconcile -f -', rules(['list']))
      assert.match(again, /reader reconciled/)
      assert.equal(await harness.kubectl('auth can-i list pods --as=jane'), 'yes\n')
      assert.equal(await harness.kubectl('auth can-i get pods --as=jane'), 'yes\n')
    })
  })
}
