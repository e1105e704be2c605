/** The clients of the bench, in a thread of their own: 32 appliers on one connection. */
import { type ClientHttp2Session, connect } from 'node:http2'
import { parentPort, workerData } from 'node:worker_threads'

export interface LoadRequest {
  readonly url: string
  readonly ca: string
  readonly cert: string
  readonly key: string
  /** `create`: a new object each time; `change`: one field differs; `same`: nothing does. */
  readonly kind: 'create' | 'change' | 'same'
  readonly seconds: number
}

export interface LoadReport {
  readonly applies: number
  readonly elapsedMs: number
  readonly failed: string | undefined
}

const appliers = 32

/** A Deployment as charts have it, about 1.5 KB. */
export function deployment(name: string, round: number): Record<string, unknown> {
  const labels = { 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'bench' }
  const probe = (path: string) => ({ httpGet: { path, port: 8080 }, periodSeconds: 5 })
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', labels, annotations: { round: String(round) } },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { 'prometheus.io/scrape': 'true' } },
        spec: {
          serviceAccountName: 'default',
          containers: [
            {
              name: 'main',
              image: `example.com/app:v${round}`,
              args: ['--port=8080', '--verbose'],
              ports: [
                { name: 'http', containerPort: 8080 },
                { name: 'metrics', containerPort: 9090 },
              ],
              env: ['A', 'B', 'C', 'D', 'E'].map((each) => ({ name: each, value: 'x'.repeat(20) })),
              resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '1Gi' } },
              livenessProbe: probe('/live'),
              readinessProbe: probe('/ready'),
              volumeMounts: [{ name: 'config', mountPath: '/etc/app' }],
            },
          ],
          volumes: [{ name: 'config', configMap: { name: 'app' } }],
        },
      },
    },
  }
}

function apply(session: ClientHttp2Session, name: string, round: number): Promise<string> {
  const body = JSON.stringify(deployment(name, round))
  const stream = session.request({
    ':method': 'PATCH',
    ':path': `/apis/apps/v1/namespaces/default/deployments/${name}?fieldManager=bench&force=true`,
    'content-type': 'application/apply-patch+yaml',
  })
  stream.end(body)
  return new Promise((resolve, reject) => {
    let code = 0
    let text = ''
    stream.setEncoding('utf8')
    stream.once('response', (headers) => {
      code = Number(headers[':status'])
    })
    stream.on('data', (chunk: string) => {
      if (code >= 300) text += chunk
    })
    stream.once('end', () => resolve(code < 300 ? '' : text))
    stream.once('error', reject)
  })
}

async function main(request: LoadRequest): Promise<LoadReport> {
  const { url, ca, cert, key, kind, seconds } = request
  const session = connect(url, { ca, cert, key })
  let applies = 0
  let failed: string | undefined
  const started = performance.now()
  const end = started + seconds * 1000
  await Promise.all(
    Array.from({ length: appliers }, async (_, applier) => {
      for (let round = 1; performance.now() < end && failed === undefined; round++) {
        const name = kind === 'create' ? `new-${applier}-${round}` : `old-${applier}`
        const text = await apply(session, name, kind === 'same' ? 0 : round)
        if (text !== '') failed = text
        applies++
      }
    }),
  )
  const elapsedMs = performance.now() - started
  session.close()
  return { applies, elapsedMs, failed }
}

if (parentPort !== null) parentPort.postMessage(await main(workerData as LoadRequest))
