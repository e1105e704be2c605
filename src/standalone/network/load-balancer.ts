/**
 * Services of type LoadBalancer: each TCP port gets a port on the host's loopback, the first such
 * Service the ingress port. Connections are accepted inside the tree and go to the Service's address.
 */
import { connect, type Server, type Socket } from 'node:net'
import { type Clock, type Component, type Logger, toError } from '../../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../../client/index.ts'
import type { HostDoor, HostListener } from './door.ts'
import { limits } from './limits.ts'
import {
  clusterAddress,
  type Service,
  type ServicePortSpec,
  servicesResource,
} from './service-table.ts'
import { splice } from './splice.ts'

/** Which loopback port leads to which Service port: `80=8080,443=41001`. */
export const loopbackPortsAnnotation = 'weft.dev/loopback-ports'

export interface LoadBalancersOptions {
  readonly services: Informer<Service>
  readonly client: KubeClient
  readonly door: HostDoor
  /** The lasting listener of the ingress port. */
  readonly ingress: HostListener
  readonly clock: Clock
  readonly logger: Logger
}

interface Open {
  readonly listener: HostListener
  readonly ingress: boolean
}

export class LoadBalancers implements Component {
  readonly #options: LoadBalancersOptions
  readonly #queue: WorkQueue
  /** By `namespace/name`, then by Service port. */
  readonly #open = new Map<string, Map<number, Open>>()
  readonly #sockets = new Set<Socket>()
  /** Service key and port behind the ingress port. */
  #ingressOwner: { readonly key: string; readonly port: number } | undefined
  #remove: (() => void) | undefined

  constructor(options: LoadBalancersOptions) {
    this.#options = options
    this.#queue = new WorkQueue({
      name: 'load-balancer',
      work: (key) => this.#sync(key),
      clock: options.clock,
      logger: options.logger,
    })
  }

  async start(): Promise<void> {
    const { services, ingress } = this.#options
    this.#serve(ingress.server, () => this.#ingressOwner)
    // Who had the ingress port before gets it again, else the oldest.
    const candidates = services
      .list()
      .filter(isLoadBalancer)
      .toSorted((a, b) => rank(a, ingress.port).localeCompare(rank(b, ingress.port)))
    for (const service of candidates) this.#claimIngress(service)
    const mark = (service: Service): void => this.#queue.add(keyOf(service))
    this.#remove = services.on({ added: mark, updated: mark, deleted: mark })
    await this.#queue.start()
  }

  async stop(): Promise<void> {
    this.#remove?.()
    await this.#queue.stop()
    for (const ports of this.#open.values()) {
      for (const { listener, ingress } of ports.values()) if (!ingress) listener.server.close()
    }
    this.#options.ingress.server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #sync(key: string): Promise<void> {
    const service = this.#options.services.get(key)
    const wanted = service !== undefined && isLoadBalancer(service) ? tcpPorts(service) : []
    const open = this.#open.get(key) ?? new Map<number, Open>()
    for (const port of open.keys()) {
      if (!wanted.some((one) => one.port === port)) this.#close(key, port)
    }
    if (service === undefined || wanted.length === 0) {
      this.#open.delete(key)
      if (service !== undefined) await this.#withdraw(service)
      return
    }
    this.#open.set(key, open)
    this.#claimIngress(service)
    const owned = this.#ingressOwner
    // It waited for the ingress port on another one, which it gives back now.
    if (owned?.key === key && open.get(owned.port)?.ingress === false) this.#close(key, owned.port)
    const before = annotated(service)
    for (const { port } of wanted) {
      if (open.has(port)) continue
      const owner = this.#ingressOwner
      const ingress = owner?.key === key && owner.port === port
      const listener = ingress
        ? this.#options.ingress
        : await this.#listen(`service ${key}:${port}`, before.get(port))
      if (!ingress) this.#serve(listener.server, () => ({ key, port }))
      open.set(port, { listener, ingress })
    }
    await this.#publish(service, open)
  }

  /** The port it had before, if it is still free. */
  async #listen(name: string, wish: number | undefined): Promise<HostListener> {
    const { door, ingress } = this.#options
    if (wish !== undefined && wish !== ingress.port) {
      try {
        return await door.listen(name, wish)
      } catch (error) {
        this.#options.logger.info('loopback port not free any more', {
          error: toError(error).message,
        })
      }
    }
    return door.listen(name)
  }

  #claimIngress(service: Service): void {
    if (this.#ingressOwner !== undefined) return
    const ports = tcpPorts(service)
    const best =
      ports.find(({ port }) => port === 80) ??
      ports.find(({ name }) => name?.startsWith('http') === true) ??
      ports[0]
    if (best !== undefined) this.#ingressOwner = { key: keyOf(service), port: best.port }
  }

  #close(key: string, port: number): void {
    const open = this.#open.get(key)
    const entry = open?.get(port)
    open?.delete(port)
    if (entry === undefined) return
    if (entry.ingress) {
      this.#ingressOwner = undefined
      // Whoever else waits may have it now.
      for (const other of this.#options.services.list()) {
        if (keyOf(other) !== key && isLoadBalancer(other)) this.#queue.add(keyOf(other))
      }
      return
    }
    entry.listener.server.close()
    this.#options.door.release(entry.listener.port)
  }

  async #publish(service: Service, open: ReadonlyMap<number, Open>): Promise<void> {
    const { client } = this.#options
    const { name, namespace } = service.metadata
    const pairs = [...open].map(([port, { listener }]) => `${port}=${listener.port}`).join(',')
    if (service.metadata.annotations?.[loopbackPortsAnnotation] !== pairs) {
      await client.patch(servicesResource, namespace, name, 'merge', {
        metadata: { annotations: { [loopbackPortsAnnotation]: pairs } },
      })
    }
    const ports = [...open.keys()].map((port) => ({ port, protocol: 'TCP' }))
    const ingress = [{ ip: '127.0.0.1', ipMode: 'Proxy', ports }]
    if (JSON.stringify(service.status?.loadBalancer?.ingress ?? []) === JSON.stringify(ingress))
      return
    const body = { status: { loadBalancer: { ingress } } }
    await client.patch(servicesResource, namespace, name, 'merge', body, { subresource: 'status' })
  }

  /** A Service that is no LoadBalancer any more keeps nothing of it. */
  async #withdraw(service: Service): Promise<void> {
    if (service.metadata.annotations?.[loopbackPortsAnnotation] === undefined) return
    const { client } = this.#options
    const { name, namespace } = service.metadata
    await client.patch(servicesResource, namespace, name, 'merge', {
      metadata: { annotations: { [loopbackPortsAnnotation]: null } },
    })
    const body = { status: { loadBalancer: null } }
    await client.patch(servicesResource, namespace, name, 'merge', body, { subresource: 'status' })
  }

  #serve(server: Server, backend: () => { key: string; port: number } | undefined): void {
    server.on('connection', (socket) => {
      socket.on('error', () => socket.destroy())
      const target = backend()
      const service = target === undefined ? undefined : this.#options.services.get(target.key)
      const address = service === undefined ? undefined : clusterAddress(service)
      if (target === undefined || address === undefined) {
        socket.resetAndDestroy()
        return
      }
      this.#forward(socket, address, target.port)
    })
  }

  #forward(socket: Socket, host: string, port: number): void {
    const inner = connect({ host, port, allowHalfOpen: true, noDelay: true })
    inner.setTimeout(limits.backendConnectMs, () => inner.destroy())
    for (const one of [socket, inner]) {
      this.#sockets.add(one)
      one.on('close', () => this.#sockets.delete(one))
    }
    inner.once('connect', () => {
      inner.setTimeout(0)
      socket.resume()
    })
    splice(socket, inner)
  }
}

function isLoadBalancer(service: Service): boolean {
  return service.spec?.type === 'LoadBalancer' && clusterAddress(service) !== undefined
}

/** The ports that are worth a loopback port: a proxy's readiness port is not. */
function tcpPorts(service: Service): ServicePortSpec[] {
  return (service.spec?.ports ?? []).filter(
    ({ protocol, port }) => (protocol ?? 'TCP') === 'TCP' && port !== 15021,
  )
}

function annotated(service: Service): Map<number, number> {
  const text = service.metadata.annotations?.[loopbackPortsAnnotation] ?? ''
  const pairs = [...text.matchAll(/(\d+)=(\d+)/g)]
  return new Map(pairs.map((match) => [Number(match[1]), Number(match[2])]))
}

function rank(service: Service, ingressPort: number): string {
  const had = [...annotated(service).values()].includes(ingressPort)
  return `${had ? 0 : 1} ${service.metadata.creationTimestamp ?? ''} ${keyOf(service)}`
}

function keyOf(service: Service): string {
  return `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`
}
