/** What the bench stores: about 5 KB each, with defaults and managedFields. */

export const namespace = 'bench'
export const mapsPath = `/api/v1/namespaces/${namespace}/configmaps`
export const podsPath = `/api/v1/namespaces/${namespace}/pods`

/** @param label a value that differs from write to write */
export function podBody(name: string, label = 'v1'): Buffer {
  const env = Array.from({ length: 4 }, (_, index) => ({
    name: `SETTING_${index}`,
    value: `the value of setting ${index}`,
  }))
  const container = (part: string): object => ({
    name: part,
    image: `registry.example/bench/${part}:1.2.3`,
    args: ['--port=8080', `--part=${part}`],
    ports: [{ name: `http-${part}`, containerPort: 8080 }],
    env,
    resources: {
      requests: { cpu: '100m', memory: '128Mi' },
      limits: { cpu: '500m', memory: '256Mi' },
    },
    readinessProbe: { httpGet: { path: '/ready', port: 8080 } },
  })
  return Buffer.from(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace,
        labels: { app: 'bench', version: label, 'app.kubernetes.io/name': name },
      },
      spec: { containers: [container('app'), container('side')] },
    }),
  )
}

export function mapBody(name: string): Buffer {
  const data = Object.fromEntries(
    Array.from({ length: 8 }, (_, index) => [`file-${index}`, `${index} `.repeat(280)]),
  )
  const metadata = { name, namespace, labels: { app: 'bench' } }
  return Buffer.from(JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data }))
}
