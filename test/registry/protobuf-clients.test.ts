/**
 * What kubectl and helm really send as protobuf. They talk to a small proxy that decodes such bodies, keeps them,
 * and passes JSON on to a registry, so that both the decoded object and what the registry makes of it can be seen.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import {
  type DecodedObject,
  decodeKubernetesProtobuf,
  kubernetesProtobufType,
} from '../../src/schema/index.ts'
import { helmPath } from '../../tools/kubectl.ts'
import { type Outcome, RegistryHarness } from './harness.ts'

interface ReleaseSecret {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> }
  readonly type: string
  readonly data: { readonly release: string }
}

/** helm packs its release as JSON, gzip and base64, and a Secret is base64 once more. */
function releaseOf(object: DecodedObject): { name: string } {
  const { release } = (object as unknown as ReleaseSecret).data
  const packed = Buffer.from(Buffer.from(release, 'base64').toString(), 'base64')
  return JSON.parse(gunzipSync(packed).toString()) as { name: string }
}

interface Recorded {
  readonly call: string
  readonly object: DecodedObject
}

/** Plain HTTP on one side, the registry's administrator on the other. */
class Recorder {
  readonly bodies: Recorded[] = []
  readonly failures: string[] = []
  readonly #harness: RegistryHarness
  readonly #server: Server

  constructor(harness: RegistryHarness) {
    this.#harness = harness
    this.#server = createServer((incoming, answer) => {
      this.#forward(incoming, answer).catch((error: unknown) => {
        this.failures.push(`${incoming.method} ${incoming.url}: ${String(error)}`)
        answer.destroy()
      })
    })
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #forward(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = incoming
    let body = await buffer(incoming)
    const headers = { ...incoming.headers }
    delete headers['transfer-encoding']
    delete headers['content-length']
    if (headers['content-type'] === kubernetesProtobufType) {
      const object = decodeKubernetesProtobuf(body)
      this.bodies.push({ call: `${method} ${url.replace(/\?.*/, '')}`, object })
      body = Buffer.from(JSON.stringify(object))
      headers['content-type'] = 'application/json'
    }
    if (body.length > 0) headers['content-length'] = String(body.length)
    const { adminCredentials, caCertificatePem: ca } = this.#harness.registry
    const { certPem: cert, keyPem: key } = adminCredentials
    const { hostname, port } = new URL(this.#harness.url)
    const outgoing = request({ hostname, port, path: url, method, headers, ca, cert, key })
    outgoing.on('error', () => answer.destroy())
    outgoing.on('response', (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers)
      response.pipe(answer)
    })
    answer.on('close', () => outgoing.destroy())
    outgoing.end(body)
  }
}

interface KubectlBody {
  readonly line: string
  readonly call: string
  readonly object: DecodedObject
}

const container = { name: 'echo', image: 'echo:1', resources: {} }
const labels = { app: 'web' }
const rbac = '/apis/rbac.authorization.k8s.io/v1'

/** Every kubectl command that makes an object by itself, and the object as it must arrive. */
const kubectlBodies: readonly KubectlBody[] = [
  {
    line: 'create namespace shop',
    call: '/api/v1/namespaces',
    object: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop' },
      spec: {},
      status: {},
    },
  },
  {
    line: 'create serviceaccount web -n shop',
    call: '/api/v1/namespaces/shop/serviceaccounts',
    object: {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'web', namespace: 'shop' },
    },
  },
  {
    line: 'create secret generic web --from-literal=key=ü',
    call: '/api/v1/namespaces/default/secrets',
    object: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web' }, data: { key: 'w7w=' } },
  },
  {
    line: 'create configmap web --from-literal=key=ü',
    call: '/api/v1/namespaces/default/configmaps',
    object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'web' }, data: { key: 'ü' } },
  },
  {
    line: 'create role web --verb=get,list --resource=pods',
    call: `${rbac}/namespaces/default/roles`,
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'web' },
      rules: [{ verbs: ['get', 'list'], apiGroups: [''], resources: ['pods'] }],
    },
  },
  {
    line: 'create rolebinding web --role=web --serviceaccount=shop:web',
    call: `${rbac}/namespaces/default/rolebindings`,
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'web' },
      subjects: [{ kind: 'ServiceAccount', name: 'web', namespace: 'shop' }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'web' },
    },
  },
  {
    line: 'create clusterrole web --aggregation-rule=a=b',
    call: `${rbac}/clusterroles`,
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'web' },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
    },
  },
  {
    line: 'create deployment web --image=echo:1 --replicas=2 --port=80',
    call: '/apis/apps/v1/namespaces/default/deployments',
    object: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', labels },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ ...container, ports: [{ containerPort: 80 }] }] },
        },
        strategy: {},
      },
      status: {},
    },
  },
  {
    line: 'create job echo --image=echo:1 -- echo hi',
    call: '/apis/batch/v1/namespaces/default/jobs',
    object: {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'echo' },
      spec: {
        template: {
          metadata: {},
          spec: {
            containers: [{ ...container, command: ['echo', 'hi'] }],
            restartPolicy: 'Never',
          },
        },
      },
      status: {},
    },
  },
  {
    line: 'create service nodeport web --tcp=80:http',
    call: '/api/v1/namespaces/default/services',
    object: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', labels },
      spec: {
        ports: [{ name: '80-http', protocol: 'TCP', port: 80, targetPort: 'http' }],
        selector: labels,
        type: 'NodePort',
      },
      status: { loadBalancer: {} },
    },
  },
  {
    line: 'create quota web --hard=pods=3,memory=1Gi',
    call: '/api/v1/namespaces/default/resourcequotas',
    object: {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'web' },
      spec: { hard: { pods: '3', memory: '1Gi' } },
      status: {},
    },
  },
  {
    line: 'create priorityclass web --value=-5 --preemption-policy=Never',
    call: '/apis/scheduling.k8s.io/v1/priorityclasses',
    object: {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: 'web' },
      value: -5,
      preemptionPolicy: 'Never',
    },
  },
  {
    line: 'create token web -n shop --duration=20m --audience=shop',
    call: '/api/v1/namespaces/shop/serviceaccounts/web/token',
    object: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: {},
      spec: { audiences: ['shop'], expirationSeconds: 1200 },
      status: { token: '', expirationTimestamp: null },
    },
  },
  {
    line: 'auth can-i create deployments.apps/web',
    call: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      metadata: {},
      spec: {
        resourceAttributes: {
          namespace: 'default',
          verb: 'create',
          group: 'apps',
          resource: 'deployments',
          name: 'web',
        },
      },
      status: { allowed: false },
    },
  },
  {
    line: 'auth whoami',
    call: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    object: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'SelfSubjectReview',
      metadata: {},
      status: { userInfo: {} },
    },
  },
]

for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) {
  describe(`protobuf bodies of kubectl ${version} and its helm`, () => {
    let harness: RegistryHarness
    let recorder: Recorder
    let url: string
    before(async () => {
      harness = await RegistryHarness.start(version)
      recorder = new Recorder(harness)
      url = await recorder.start()
      await writeFile(join(harness.dir, 'proxied'), kubeconfig(url))
    })
    after(async () => {
      recorder.stop()
      await harness.stop()
    })

    function run(program: string, args: readonly string[]): Promise<Outcome> {
      const env = { ...harness.environment, KUBECONFIG: join(harness.dir, 'proxied') }
      return new Promise((resolve) => {
        execFile(program, args, { env }, (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : 1, stdout, stderr })
        })
      })
    }

    /** Runs a program that must succeed; the protobuf bodies that it sent. */
    async function sent(program: string, line: string): Promise<readonly Recorded[]> {
      recorder.bodies.length = 0
      const { code, stderr } = await run(program, line.split(' '))
      assert.equal(code, 0, `${line}: ${stderr} ${recorder.failures.join()}`)
      return [...recorder.bodies]
    }

    for (const { line, call, object } of kubectlBodies) {
      test(`${line.replace(/ --.*/, '')} arrives as the object that it means`, async () => {
        const bodies = await sent(harness.kubectlProgram, line)
        assert.deepEqual(bodies, [{ call: `POST ${call}`, object }])
      })
    }

    test('autoscale arrives in the version that this kubectl prefers', async () => {
      recorder.bodies.length = 0
      const args = 'autoscale deployment web --max=4 --cpu-percent=50'.split(' ')
      await run(harness.kubectlProgram, args)
      const [body] = recorder.bodies
      assert.equal(body?.object.kind, 'HorizontalPodAutoscaler')
      const old = body.object.apiVersion === 'autoscaling/v1'
      const target = { type: 'Utilization', averageUtilization: 50 }
      assert.deepEqual(body.object['spec'], {
        scaleTargetRef: { kind: 'Deployment', name: 'web', apiVersion: 'apps/v1' },
        maxReplicas: 4,
        ...(old
          ? { targetCPUUtilizationPercentage: 50 }
          : { metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] }),
      })
    })

    test('helm keeps its releases: install, upgrade, rollback, uninstall', async () => {
      const helm = await helmPath(version)
      const chart = await writeChart(harness.dir)
      const secrets = '/api/v1/namespaces/apps/secrets'
      const name = (revision: number): string => `sh.helm.release.v1.r1.v${revision}`
      const steps: readonly (readonly [line: string, secrets: readonly string[]])[] = [
        [
          `install r1 ${chart} -n apps --create-namespace`,
          ['POST 1 pending-install', 'PUT 1 deployed'],
        ],
        [
          `upgrade r1 ${chart} -n apps --set replicas=3`,
          ['POST 2 pending-upgrade', 'PUT 1 superseded', 'PUT 2 deployed'],
        ],
        [
          'rollback r1 1 -n apps',
          ['POST 3 pending-rollback', 'PUT 2 superseded', 'PUT 3 deployed'],
        ],
      ]
      for (const [line, wanted] of steps) {
        const bodies = await sent(helm, line)
        const found = bodies.map(({ call, object }) => {
          const { metadata, type } = object as unknown as ReleaseSecret
          assert.equal(type, 'helm.sh/release.v1')
          assert.equal(metadata.name, name(Number(metadata.labels['version'])))
          assert.equal(metadata.labels['owner'], 'helm')
          assert.equal(releaseOf(object).name, 'r1')
          return `${call.replace(/ .*/, '')} ${metadata.labels['version']} ${metadata.labels['status']}`
        })
        assert.deepEqual(found, wanted)
      }
      const [marked, ...deleted] = await sent(helm, 'uninstall r1 -n apps')
      assert.equal(marked?.call, `PUT ${secrets}/${name(3)}`)
      assert.deepEqual(
        deleted,
        [1, 2, 3].map((revision) => ({
          call: `DELETE ${secrets}/${name(revision)}`,
          object: { apiVersion: 'v1', kind: 'DeleteOptions' },
        })),
      )
    })
  })
}

function kubeconfig(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'a', cluster: { server } }],
    users: [{ name: 'a', user: {} }],
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    'current-context': 'a',
  })
}

async function writeChart(dir: string): Promise<string> {
  const chart = join(dir, 'chart')
  await mkdir(join(chart, 'templates'), { recursive: true })
  await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: shop\nversion: 0.1.0\n')
  await writeFile(join(chart, 'values.yaml'), 'replicas: 1\n')
  await writeFile(join(chart, 'templates/all.yaml'), template)
  return chart
}

const template = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'echo:1' }] }
`
