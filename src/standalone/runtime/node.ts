/** The Node object and its heartbeat: conditions, capacity, and a Lease renewed every 10 seconds. */
import { readFileSync } from 'node:fs'
import { availableParallelism, release, totalmem } from 'node:os'
import { type Clock, type Component, type Logger, type Timer, toError } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { ApiError, type KubeObject, resources } from '../../kube/index.ts'
import { limits } from './limits.ts'
import { nodeLabels } from './scheduler.ts'
import { kubeTime } from './types.ts'

export interface NodeReporterOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly nodeName: string
  readonly hostIp: string
  /** Of Weft. */
  readonly version: string
}

const leaseNamespace = 'kube-node-lease'

export class NodeReporter implements Component {
  readonly #options: NodeReporterOptions
  readonly #timers: Timer[] = []
  #lease: KubeObject<Record<string, unknown>> | undefined

  constructor(options: NodeReporterOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { clock } = this.#options
    await this.#register()
    await this.#renew()
    this.#timers.push(
      clock.every(limits.leaseRenewMs, () => void this.#renew(), { background: true }),
      clock.every(limits.nodeStatusMs, () => void this.#report(), { background: true }),
    )
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) timer.cancel()
  }

  async #register(): Promise<void> {
    const { client, nodeName } = this.#options
    const existing = await client.get(resources.nodes, undefined, nodeName)
    if (existing === undefined) {
      await client.create(resources.nodes, {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: nodeName, labels: nodeLabels(nodeName) },
        spec: { podCIDR: '10.244.0.0/16' },
      })
    }
    await this.#write()
  }

  /** Later failures are for the log: the next round tries again. */
  async #report(): Promise<void> {
    await this.#write().catch((error: unknown) =>
      this.#options.logger.debug('the node status was not written', {
        error: toError(error).message,
      }),
    )
  }

  async #write(): Promise<void> {
    const { client, nodeName } = this.#options
    await client.patch(
      resources.nodes,
      undefined,
      nodeName,
      'merge',
      { status: this.#status() },
      { subresource: 'status' },
    )
  }

  #status(): unknown {
    const { clock, hostIp, nodeName, version } = this.#options
    const now = kubeTime(clock.now())
    const capacity = {
      cpu: String(availableParallelism()),
      memory: `${Math.floor(totalmem() / 1024)}Ki`,
      pods: String(limits.podsMax),
    }
    const condition = (type: string, status: string, reason: string, message: string): unknown => ({
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: now,
      lastTransitionTime: this.#startTime,
    })
    return {
      capacity,
      allocatable: capacity,
      conditions: [
        condition(
          'MemoryPressure',
          'False',
          'KubeletHasSufficientMemory',
          'memory is not watched in standalone mode',
        ),
        condition(
          'DiskPressure',
          'False',
          'KubeletHasNoDiskPressure',
          'the disk is not watched in standalone mode',
        ),
        condition(
          'PIDPressure',
          'False',
          'KubeletHasSufficientPID',
          'processes are not counted in standalone mode',
        ),
        condition('Ready', 'True', 'KubeletReady', 'the runtime starts pods'),
      ],
      addresses: [
        { type: 'InternalIP', address: hostIp },
        { type: 'Hostname', address: nodeName },
      ],
      nodeInfo: {
        architecture: nodeLabels(nodeName)['kubernetes.io/arch'],
        bootID: bootId(),
        containerRuntimeVersion: `weft://${version}`,
        kernelVersion: release(),
        kubeletVersion: `v1.32.0-weft-${version}`,
        kubeProxyVersion: '',
        machineID: '',
        operatingSystem: 'linux',
        osImage: osImage(),
        systemUUID: '',
      },
    }
  }

  #since: string | undefined

  /** Ready since this runtime started. */
  get #startTime(): string {
    this.#since ??= kubeTime(this.#options.clock.now())
    return this.#since
  }

  async #renew(): Promise<void> {
    const { client, clock, nodeName, logger } = this.#options
    const renewTime = new Date(clock.now()).toISOString().replace('Z', '000Z')
    const spec = { holderIdentity: nodeName, leaseDurationSeconds: 40, renewTime }
    const metadata = { name: nodeName, namespace: leaseNamespace }
    try {
      if (this.#lease !== undefined) {
        await client.patch(resources.leases, leaseNamespace, nodeName, 'merge', { spec })
        return
      }
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }
      this.#lease = await this.#createLease(lease)
    } catch (error) {
      if (error instanceof ApiError && error.status.code === 404) this.#lease = undefined
      logger.debug('the node lease was not renewed', { error: toError(error).message })
    }
  }

  async #createLease(
    lease: KubeObject<Record<string, unknown>>,
  ): Promise<KubeObject<Record<string, unknown>>> {
    const { client, nodeName } = this.#options
    try {
      return await client.create(resources.leases, lease)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status.code === 409) {
        return client.patch(resources.leases, leaseNamespace, nodeName, 'merge', {
          spec: lease.spec,
        })
      }
      if (error.status.code !== 404) throw error
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: leaseNamespace } }
      await client.create(resources.namespaces, namespace)
      return client.create(resources.leases, lease)
    }
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

function osImage(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8')
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? 'Linux'
  } catch {
    return 'Linux'
  }
}
