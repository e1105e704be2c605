/**
 * Prometheus' `kubernetes_sd_configs`, as the unmodified vmagent of Debian follows them: what runs here is
 * listed with the labels that scrape configurations rely on, and is scraped.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { stringify } from 'yaml'
import { installedVmagent } from '../../tools/vmagent.ts'
import { freePort } from '../free-port.ts'
import { ControllersKit, eventually } from './controllers-kit.ts'

const manifest = `
apiVersion: v1
kind: Service
metadata: { name: web, labels: { team: shop } }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web }, annotations: { prometheus.io/scrape: 'true' } }
    spec:
      containers: [{ name: c, image: 'run:1', ports: [{ name: http, containerPort: 8080 }] }]
`

interface Target {
  readonly discoveredLabels: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  readonly scrapePool: string
  readonly health: string
}

const roles = ['node', 'pod', 'service', 'endpoints', 'endpointslice', 'ingress']
const program = installedVmagent()

describe('vmagent', { skip: program === undefined ? 'vmagent is missing' : false }, () => {
  let kit: ControllersKit
  let exporter: Server
  let agent: ChildProcess
  let url: string
  let log = ''

  before(async () => {
    kit = await ControllersKit.start()
    await kit.apply(manifest)
    const status = JSON.stringify({
      addresses: [{ type: 'InternalIP', address: '10.9.0.250' }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
    })
    const patch = `{"status":${status}}`
    await kit.kubectl(`patch node test-node --subresource=status --type=merge -p ${patch}`)
    exporter = createServer((_request, answer) => answer.end('up_and_well 1\n'))
    await new Promise<void>((resolve) => exporter.listen(0, '127.0.0.1', resolve))
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const folder = join(kit.harness.dir, 'scraper')
    await mkdir(folder)
    const config = join(folder, 'scrape.yml')
    const exporterPort = (exporter.address() as AddressInfo).port
    await writeFile(config, stringify(await configuration(folder, exporterPort)))
    agent = spawn(
      program ?? '',
      [
        `-promscrape.config=${config}`,
        `-remoteWrite.url=http://127.0.0.1:${exporterPort}/write`,
        `-remoteWrite.tmpDataPath=${join(folder, 'data')}`,
        `-httpListenAddr=127.0.0.1:${port}`,
        '-promscrape.kubernetesSDCheckInterval=200ms',
        '-memory.allowedBytes=64MB',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    agent.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()))
  })
  after(async () => {
    agent?.kill('SIGKILL')
    exporter?.close()
    exporter?.closeAllConnections()
    await kit?.stop()
  })

  /** The pods' addresses lead nowhere in this test: every target is scraped at the same exporter. */
  async function configuration(folder: string, port: number): Promise<object> {
    const { adminCredentials, caCertificatePem } = kit.harness.registry
    const files = {
      ca_file: caCertificatePem,
      cert_file: adminCredentials.certPem,
      key_file: adminCredentials.keyPem,
    }
    const tls: Record<string, string> = {}
    for (const [name, pem] of Object.entries(files)) {
      const path = join(folder, name)
      await writeFile(path, pem, { mode: 0o600 })
      tls[name] = path
    }
    return {
      global: { scrape_interval: '1s' },
      scrape_configs: roles.map((role) => ({
        job_name: role,
        kubernetes_sd_configs: [{ role, api_server: kit.harness.url, tls_config: tls }],
        relabel_configs: [
          { source_labels: ['__address__'], target_label: 'instance' },
          { target_label: '__address__', replacement: `127.0.0.1:${port}` },
          { action: 'labelmap', regex: '__meta_kubernetes_(namespace|pod_name|service_name)' },
        ],
      })),
    }
  }

  async function targets(pool: string): Promise<Target[]> {
    const answer = await fetch(`${url}/api/v1/targets`)
    const { data } = (await answer.json()) as { data: { activeTargets: Target[] } }
    return data.activeTargets.filter(({ scrapePool }) => scrapePool === pool)
  }

  /** The discovered labels of the targets of a role, once so many that pass are there. */
  function discovered(
    role: string,
    count: number,
    which: (labels: Target['discoveredLabels']) => boolean,
  ): Promise<Target[]> {
    return eventually(async () => {
      const found = (await targets(role)).filter((target) => which(target.discoveredLabels))
      assert.equal(found.length, count, `${role}: ${JSON.stringify(await targets(role))}\n${log}`)
      return found
    }, 15_000)
  }

  const ofWeb = (labels: Target['discoveredLabels']): boolean =>
    labels['__meta_kubernetes_service_name'] === 'web'

  test('pods are listed with address, labels, owner and node', async () => {
    const pods = await discovered('pod', 2, (labels) => '__meta_kubernetes_pod_ip' in labels)
    for (const { discoveredLabels: labels } of pods) {
      const meta = (name: string): string | undefined => labels[`__meta_kubernetes_${name}`]
      assert.equal(meta('namespace'), 'default')
      assert.equal(meta('pod_label_app'), 'web')
      assert.equal(meta('pod_annotation_prometheus_io_scrape'), 'true')
      assert.equal(meta('pod_controller_kind'), 'ReplicaSet')
      assert.equal(meta('pod_node_name'), 'test-node')
      assert.equal(meta('pod_phase'), 'Running')
      assert.equal(meta('pod_ready'), 'true')
      assert.equal(meta('pod_container_port_name'), 'http')
      assert.equal(labels['__address__'], `${meta('pod_ip')}:8080`)
    }
  })

  test('services, endpoints and slices are listed with what they lead to', async () => {
    const [service] = await discovered('service', 1, ofWeb)
    assert.equal(service?.discoveredLabels['__address__'], 'web.default.svc:80')
    assert.equal(service?.discoveredLabels['__meta_kubernetes_service_label_team'], 'shop')
    assert.equal(service?.discoveredLabels['__meta_kubernetes_service_port_name'], 'http')
    for (const { discoveredLabels: labels } of await discovered('endpointslice', 2, ofWeb)) {
      const meta = (name: string): string | undefined =>
        labels[`__meta_kubernetes_endpointslice_${name}`]
      assert.equal(meta('address_target_kind'), 'Pod')
      assert.equal(meta('port_name'), 'http')
      assert.equal(meta('endpoint_conditions_ready'), 'true')
      assert.equal(labels['__meta_kubernetes_pod_label_app'], 'web')
    }
  })

  test('nodes are listed with their address', async () => {
    const [node] = await discovered('node', 1, () => true)
    assert.equal(node?.discoveredLabels['__address__'], '10.9.0.250:10250')
    assert.equal(node?.discoveredLabels['__meta_kubernetes_node_name'], 'test-node')
  })

  test('a pod that goes and one that comes are followed, and scraped', async () => {
    await kit.kubectl('scale deploy/web --replicas=3')
    const pods = await discovered('pod', 3, (labels) => '__meta_kubernetes_pod_ip' in labels)
    await kit.kubectl('scale deploy/web --replicas=1')
    await discovered('pod', 1, (labels) => '__meta_kubernetes_pod_ip' in labels)
    assert.equal(new Set(pods.map(({ labels }) => labels['pod_name'])).size, 3)
    await eventually(async () => {
      for (const { health } of await targets('pod')) assert.equal(health, 'up')
    }, 10_000)
  })

  test('nothing it asked for was refused', () => {
    assert.doesNotMatch(log, /\t(error|warn)\t/)
  })
})
