/**
 * All that the control plane has told: workloads, services and policies. One owner (the xDS client)
 * writes; connections read. Listeners hear of a change after the store has it.
 */
import { createL4Engine, type L4Engine } from '../../decide/index.ts'
import type { workload as proto, security } from '../../proto/index.ts'
import { toService, toWorkload } from './convert.ts'
import { ServiceIndex } from './services.ts'
import type { GatewayReference, Service, Workload } from './types.ts'
import { WorkloadIndex } from './workloads.ts'

export type StoreChange =
  | { readonly kind: 'workload'; readonly uid: string }
  | { readonly kind: 'service'; readonly key: string }
  | { readonly kind: 'policy'; readonly key: string }

export class Store {
  readonly workloads = new WorkloadIndex()
  readonly services = new ServiceIndex()
  readonly policies: L4Engine = createL4Engine()
  /** As received, for /config_dump. */
  readonly policyMessages = new Map<string, security.Authorization>()
  readonly #listeners = new Set<(change: StoreChange) => void>()

  /** Returns the way to stop listening. */
  onChange(listener: (change: StoreChange) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Takes over one Address resource; throws when it can't be honoured. */
  putAddress(message: proto.Address): void {
    const { type } = message
    if (type.case === 'workload') {
      const workload = toWorkload(type.value)
      this.workloads.put(workload)
      this.#emit({ kind: 'workload', uid: workload.uid })
    } else if (type.case === 'service') {
      const service = toService(type.value)
      this.services.put(service)
      this.#emit({ kind: 'service', key: service.key })
    }
  }

  /** @param name a workload's uid, else a service's key */
  removeAddress(name: string): void {
    if (this.workloads.remove(name) !== undefined) this.#emit({ kind: 'workload', uid: name })
    else if (this.services.remove(name) !== undefined) this.#emit({ kind: 'service', key: name })
  }

  putPolicy(message: security.Authorization): void {
    this.policies.upsert(message)
    const key = `${message.namespace}/${message.name}`
    this.policyMessages.set(key, message)
    this.#emit({ kind: 'policy', key })
  }

  removePolicy(key: string): void {
    this.policyMessages.delete(key)
    if (this.policies.remove(key)) this.#emit({ kind: 'policy', key })
  }

  /** The workload at an address; never a host-network one. */
  workloadAt(network: string, address: string): Workload | undefined {
    return this.workloads.byAddress(network, address)
  }

  /** Services for which endpoints are known but which have not arrived. */
  stagedServices(): string[] {
    return [...this.workloads.serviceKeys()].filter((key) => this.services.get(key) === undefined)
  }

  /** Whether the workload is (an instance of) that gateway. */
  isGateway(workload: Workload, { target }: GatewayReference): boolean {
    if (target.kind === 'service') return workload.services.has(target.key)
    if (workload.network === target.network && workload.addresses.includes(target.address)) {
      return true
    }
    const service = this.services.byVip(target.network, target.address, workload.namespace)
    return service !== undefined && workload.services.has(service.key)
  }

  #emit(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

export type { Service, Workload }
