/** Workloads by uid, by address, by pod name, and as endpoints of services. */
import type { Workload } from './types.ts'

export class WorkloadIndex {
  readonly #byUid = new Map<string, Workload>()
  /** `<network>/<ip>` to those which have it; more than one for a moment when an IP moves. */
  readonly #byAddress = new Map<string, Workload[]>()
  /** `<namespace>/<name>` of pods. */
  readonly #byPod = new Map<string, Workload[]>()
  /** Service key to endpoints by uid, whether or not the service has arrived yet. */
  readonly #byService = new Map<string, Map<string, Workload>>()

  get size(): number {
    return this.#byUid.size
  }

  values(): IterableIterator<Workload> {
    return this.#byUid.values()
  }

  get(uid: string): Workload | undefined {
    return this.#byUid.get(uid)
  }

  put(workload: Workload): void {
    this.remove(workload.uid)
    this.#byUid.set(workload.uid, workload)
    for (const key of addressKeys(workload)) append(this.#byAddress, key, workload)
    if (isPod(workload)) append(this.#byPod, podKey(workload), workload)
    for (const key of workload.services.keys()) {
      let endpoints = this.#byService.get(key)
      if (endpoints === undefined) this.#byService.set(key, (endpoints = new Map()))
      endpoints.set(workload.uid, workload)
    }
  }

  remove(uid: string): Workload | undefined {
    const workload = this.#byUid.get(uid)
    if (workload === undefined) return undefined
    this.#byUid.delete(uid)
    for (const key of addressKeys(workload)) withdraw(this.#byAddress, key, workload)
    if (isPod(workload)) withdraw(this.#byPod, podKey(workload), workload)
    for (const key of workload.services.keys()) {
      const endpoints = this.#byService.get(key)
      endpoints?.delete(uid)
      if (endpoints?.size === 0) this.#byService.delete(key)
    }
    return workload
  }

  /** When several claim the address: an HBONE pod, a pod, HBONE, then any. */
  byAddress(network: string, address: string): Workload | undefined {
    const candidates = this.#byAddress.get(`${network}/${address}`)
    if (candidates === undefined || candidates.length === 1) return candidates?.[0]
    let best: Workload | undefined
    for (const candidate of candidates) {
      if (best === undefined || rank(candidate) > rank(best)) best = candidate
    }
    return best
  }

  byPod(namespace: string, name: string): Workload | undefined {
    return this.#byPod.get(`${namespace}/${name}`)?.at(-1)
  }

  endpointsOf(serviceKey: string): Iterable<Workload> {
    return this.#byService.get(serviceKey)?.values() ?? []
  }

  /** Keys of all services that some workload belongs to, known or not. */
  serviceKeys(): IterableIterator<string> {
    return this.#byService.keys()
  }
}

/** Several host-network workloads share their node's address: none is found by it. */
function addressKeys(workload: Workload): string[] {
  if (workload.hostNetwork) return []
  return workload.addresses.map((address) => `${workload.network}/${address}`)
}

function isPod(workload: Workload): boolean {
  return workload.uid.includes('//Pod/')
}

function podKey(workload: Workload): string {
  return `${workload.namespace}/${workload.name}`
}

function rank(workload: Workload): number {
  return (isPod(workload) ? 2 : 0) + (workload.tunnel === 'hbone' ? 1 : 0)
}

function append(map: Map<string, Workload[]>, key: string, workload: Workload): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [workload])
  else list.push(workload)
}

function withdraw(map: Map<string, Workload[]>, key: string, workload: Workload): void {
  const rest = map.get(key)?.filter((other) => other !== workload)
  if (rest === undefined || rest.length === 0) map.delete(key)
  else map.set(key, rest)
}
