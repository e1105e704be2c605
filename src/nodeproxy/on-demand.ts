/**
 * On-demand state (XDS_ON_DEMAND): instead of the whole mesh the proxy holds what its connections met.
 * Each lookup asks the control plane first and waits; without an answer the connection is refused,
 * because an address that is only unknown to us would be called in plaintext.
 */
import { type Clock, sleep } from '../base/index.ts'
import { ConnectionError } from './errors.ts'
import { demandWaitMs } from './limits.ts'
import type { PodInfo } from './pod.ts'
import type { Store } from './state/store.ts'
import type { GatewayReference, Workload } from './state/types.ts'

export interface OnDemandOptions {
  readonly store: Store
  readonly clock: Clock
  /** Cluster of the local pods. */
  readonly clusterId: string
  /** Asks for a name or alias; resolves when the control plane has answered, whatever the answer is. */
  readonly ask: (name: string) => Promise<void>
}

export class OnDemand {
  readonly #options: OnDemandOptions

  constructor(options: OnDemandOptions) {
    this.#options = options
  }

  /** The workload of a local pod. */
  async own({ namespace, name }: PodInfo): Promise<void> {
    await this.#ask(`${this.#options.clusterId}//Pod/${namespace}/${name}`)
  }

  /** All that `routeOutbound` looks at for this address. */
  async destination(client: Workload, address: string): Promise<void> {
    const { store } = this.#options
    const { network, namespace } = client
    await this.#ask(`${network}/${address}`)
    const service = store.services.byVip(network, address, namespace)
    const workload = store.workloadAt(network, address)
    const ends = service === undefined ? [workload] : [...store.workloads.endpointsOf(service.key)]
    const gateways = [
      service?.waypoint,
      ...(service?.weightedWaypoints ?? []).map(({ gateway }) => gateway),
      ...ends.flatMap((end) => [end?.waypoint, end?.networkGateway]),
    ].filter((gateway) => gateway !== undefined)
    await this.#gateways(gateways)
    // A waypoint can be on another network itself.
    const beyond = gateways.flatMap(({ target }) => {
      if (target.kind !== 'service') return []
      const all = [...store.workloads.endpointsOf(target.key)]
      return all.flatMap(({ networkGateway }) => networkGateway ?? [])
    })
    await this.#gateways(beyond)
  }

  /** What an inbound CONNECT to this address or hostname needs to be judged. */
  async inbound(workload: Workload, address: string | undefined): Promise<void> {
    const { store } = this.#options
    if (address === undefined) {
      await Promise.all(Array.from(workload.services.keys(), (key) => this.#ask(key)))
    } else if (!workload.addresses.includes(address)) {
      await this.#ask(`${workload.network}/${address}`)
      const service = store.services.byVip(workload.network, address, workload.namespace)
      const target = service ?? store.workloadAt(workload.network, address)
      if (target?.waypoint !== undefined) await this.#gateways([target.waypoint])
    }
  }

  async #gateways(references: readonly GatewayReference[]): Promise<void> {
    const names = references.map(({ target }) =>
      target.kind === 'service' ? target.key : `${target.network}/${target.address}`,
    )
    await Promise.all([...new Set(names)].map((name) => this.#ask(name)))
  }

  async #ask(name: string): Promise<void> {
    const stop = new AbortController()
    const late = sleep(this.#options.clock, demandWaitMs, stop.signal).then(() => {
      throw new ConnectionError(
        'NODEPROXY_NO_ANSWER',
        `the control plane does not say who ${name} is`,
        {
          hint: 'is it up? With XDS_ON_DEMAND new destinations need it',
        },
      )
    })
    // Aborting it below makes it reject as well.
    late.catch(() => {})
    try {
      await Promise.race([this.#options.ask(name), late])
    } finally {
      stop.abort()
    }
  }
}
