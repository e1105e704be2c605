/**
 * The node, composed in start order: mounts and network, the registry, what serves pods (Services,
 * DNS, egress, loopback ports), controllers, node agent, runtime; then the mesh's own objects and
 * the samples, which from there on are brought up by the parts above like anybody's.
 */
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Clock,
  type Component,
  type Logger,
  MeshError,
  stopAll,
  toError,
} from '../../base/index.ts'
import {
  createInformer,
  createKubeClient,
  type Informer,
  type KubeClient,
} from '../../client/index.ts'
import { createControllers } from '../../controllers/index.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../../kube/index.ts'
import { createNodeAgentApp } from '../../nodeagent/index.ts'
import { createRegistry, type Registry } from '../../registry/index.ts'
import type { InitConfig } from '../broker/protocol.ts'
import { ImageCatalogue, type ImageMapping, readImageFile } from '../images/index.ts'
import {
  clusterDomain,
  dnsServiceAddress,
  nodeAddress,
  probeSource,
  registryPort,
} from '../network/addresses.ts'
import { setUpNode } from '../network/node.ts'
import { PodNetworks } from '../network/pods.ts'
import { EgressRelay } from '../network/relay.ts'
import type { EndpointSlice, Service } from '../network/service-table.ts'
import { createRuntime } from '../runtime/index.ts'
import { Applier } from './apply.ts'
import { limits } from './limits.ts'
import type { BrokerLink } from './link.ts'
import {
  clusterServices,
  meshAccounts,
  meshConfig,
  meshServices,
  meshWebhooks,
  meshWorkloads,
} from './mesh-objects.ts'
import { runFolder, setUpMounts } from './mounts.ts'
import { createNetworkApp } from './network-app.ts'
import { MeshPodNetwork } from './pod-network.ts'
import { Readiness } from './readiness.ts'
import { applySample, readSample } from './samples.ts'
import { webhookDialer } from './webhook-dialer.ts'

const nodeName = 'weft-node'
const systemNamespace = 'istio-system'
const programRoot = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '')

export interface InitOptions {
  readonly config: InitConfig
  readonly link: BrokerLink
  /** Life of everything that is issued in the mesh; default: what each issuer is used to. */
  readonly certificateSeconds?: number | undefined
  readonly clock: Clock
  readonly logger: Logger
}

export class Init implements Component {
  readonly #options: InitOptions
  /** In start order. */
  readonly #parts: Component[] = []
  #applier: Applier | undefined
  #readiness: Readiness | undefined
  #catalogue: ImageCatalogue | undefined

  constructor(options: InitOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { config, link, clock, logger } = this.#options
    process.env.PATH = [...config.toolFolders, process.env.PATH ?? ''].join(':')
    const samples = config.restarted ? [] : config.samples.map((name) => readSample(name))
    const catalogue = readCatalogue(config)
    this.#catalogue = catalogue
    setUpMounts(join(config.stateDirectory, 'pods'))
    const relay = new EgressRelay(link, logger.child('egress'))
    const registry = await this.#step('registry', () => this.#startRegistry(relay))
    const client = this.#client(registry)
    const applier = new Applier(client)
    this.#applier = applier
    await this.#step('control loops and Services', async () => {
      await Promise.all([
        this.#begin(this.#networkApp(client, relay, await link.listener('ingress'))),
        this.#begin(createControllers({ client, clock, logger, caPem: registry.caCertificatePem })),
        applyAll(applier, [
          ...clusterServices(),
          ...meshAccounts(),
          ...meshServices(),
          ...meshWebhooks(),
        ]),
        applier.apply(meshConfig(), 'create'),
      ])
    })
    await this.#step('node', () => this.#startNode(client, registry, catalogue))
    const readiness = await this.#startReadiness(client)
    await applyAll(applier, meshWorkloads(this.#options.certificateSeconds))
    // After a crash the samples are the user's, perhaps deleted by now, and nobody waits for them.
    if (config.restarted) return
    await this.#step('mesh', async () => {
      for (const sample of samples) await applySample(applier, sample)
      await this.#untilReady(readiness, [
        systemNamespace,
        ...samples.map(({ namespace }) => namespace),
      ])
    })
  }

  async stop(deadlineMs = 5_000): Promise<void> {
    try {
      await stopAll(this.#parts, deadlineMs)
    } catch (error) {
      // The tree ends with us in any case; what failed is only worth a line.
      this.#options.logger.warn('stopping', { error: toError(error).message })
    }
  }

  /** For `up --sample` on a mesh that runs. */
  async applySamples(names: readonly string[]): Promise<void> {
    const applier = this.#applier
    const readiness = this.#readiness
    if (applier === undefined || readiness === undefined) {
      throw new MeshError('INIT_STARTING', 'the mesh is still starting', { retryable: true })
    }
    const samples = names.map((name) => readSample(name))
    for (const sample of samples) await applySample(applier, sample)
    await this.#untilReady(
      readiness,
      samples.map(({ namespace }) => namespace),
    )
  }

  /** For `weft run`: its images, all of them. */
  setImages(images: readonly ImageMapping[]): void {
    this.#catalogue?.setDefined(images)
  }

  async #begin(part: Component): Promise<void> {
    await part.start()
    this.#parts.push(part)
  }

  async #step<T>(name: string, run: () => Promise<T>): Promise<T> {
    const { link } = this.#options
    link.progress(name, 'started')
    try {
      const value = await run()
      link.progress(name, 'done')
      return value
    } catch (error) {
      link.progress(name, 'failed', toError(error).message)
      throw error
    }
  }

  /** Network and registry don't need each other until the registry listens. */
  async #startRegistry(relay: EgressRelay): Promise<Registry> {
    const { config, link, clock, logger, certificateSeconds } = this.#options
    const registry = createRegistry({
      dir: config.stateDirectory,
      name: config.name,
      version: config.version,
      clock,
      logger: logger.child('registry'),
      serverNames: [nodeAddress],
      dialWebhook: webhookDialer(dnsServiceAddress),
      ...(certificateSeconds === undefined ? {} : { certificateLifeMs: certificateSeconds * 1000 }),
    })
    await Promise.all([setUpNode(), this.#begin(registry)])
    await this.#begin(relay)
    const server = await listen(nodeAddress, registryPort)
    registry.attach(server)
    this.#parts.push(closing(server))
    const outside = await link.listener('registry')
    registry.attach(outside.server)
    this.#parts.push(closing(outside.server))
    await registry.writeKubeconfig(
      join(config.stateDirectory, 'kubeconfig'),
      `https://127.0.0.1:${config.registryPort}`,
    )
    return registry
  }

  #client(registry: Registry): KubeClient {
    return createKubeClient({
      server: `https://${nodeAddress}:${registryPort}`,
      clock: this.#options.clock,
      caPem: () => registry.caCertificatePem,
      certificate: () => registry.adminCredentials,
      userAgent: 'weft-node',
    })
  }

  #informer<T extends KubeObject>(client: KubeClient, gvr: GroupVersionResource): Informer<T> {
    const { clock, logger } = this.#options
    return createInformer<T>({ client, gvr, clock, logger })
  }

  #networkApp(
    client: KubeClient,
    relay: EgressRelay,
    ingress: Awaited<ReturnType<BrokerLink['listener']>>,
  ): Component {
    const { config, link, clock, logger } = this.#options
    return createNetworkApp({
      services: this.#informer<Service>(client, resources.services),
      slices: this.#informer<EndpointSlice>(client, resources.endpointslices),
      client,
      door: link,
      relay,
      ingress,
      hostAccess: config.hostAccess,
      clock,
      logger,
    })
  }

  async #startNode(
    client: KubeClient,
    registry: Registry,
    catalogue: ImageCatalogue,
  ): Promise<void> {
    const { config, clock, logger } = this.#options
    const networks = new PodNetworks({
      netnsFolder: join(runFolder, 'netns'),
      stateFile: join(config.stateDirectory, 'network.json'),
      clock,
      logger: logger.child('network'),
    })
    const network = new MeshPodNetwork(networks, client)
    const agent = createNodeAgentApp({
      client,
      netns: network,
      socketPath: join(runFolder, 'ztunnel.sock'),
      clock,
      logger: logger.child('node-agent'),
      tools: config.toolFolders,
      nodeName,
      hostRules: 'none',
    })
    network.admitBy(agent)
    await this.#begin(agent)
    const runtime = createRuntime({
      client,
      network,
      catalogue,
      builtins: { 'node-agent': { start: async () => {}, stop: async () => {} } },
      stateDir: config.stateDirectory,
      runDir: runFolder,
      nodeName,
      clock,
      logger,
      root: config.mode === 'root',
      allowHostPaths: config.hostPathPrefixes,
      probeSourceAddress: probeSource,
      dnsServer: dnsServiceAddress,
      clusterDomain,
      meshNamespace: systemNamespace,
      version: config.version,
    })
    registry.setBackend(runtime.backend)
    this.#parts.push({ start: async () => {}, stop: async () => networks.close() })
    await this.#begin(runtime)
  }

  async #startReadiness(client: KubeClient): Promise<Readiness> {
    const informers = {
      deployments: this.#informer(client, resources.deployments),
      daemonSets: this.#informer(client, resources.daemonsets),
      pods: this.#informer(client, resources.pods),
      gateways: this.#informer(client, resources.gateways),
      namespaces: this.#informer(client, resources.namespaces),
    }
    await Promise.all(Object.values(informers).map((informer) => this.#begin(informer)))
    // The resources named above have these shapes.
    const readiness = new Readiness({
      ...informers,
      clock: this.#options.clock,
    } as ConstructorParameters<typeof Readiness>[0])
    await this.#begin(readiness)
    this.#readiness = readiness
    return readiness
  }

  #untilReady(readiness: Readiness, namespaces: readonly string[]): Promise<void> {
    const { link } = this.#options
    return readiness.wait(namespaces, limits.readyDeadlineMs, (missing) => {
      const shown = missing.slice(0, 3).join(', ')
      const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
      link.progress('waiting for', 'note', `${shown}${more}`)
    })
  }
}

async function applyAll(applier: Applier, objects: readonly KubeObject[]): Promise<void> {
  await Promise.all(objects.map((object) => applier.apply(object)))
}

function listen(address: string, port: number): Promise<Server> {
  const server = createServer({ noDelay: true })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, () => resolve(server))
  })
}

/** A server whose connections belong to someone else: only accepting ends. */
function closing(server: Server): Component {
  return { start: async () => {}, stop: async () => void server.close() }
}

function readCatalogue(config: InitConfig): ImageCatalogue {
  const mappings = config.catalogFile === undefined ? [] : readImageFile(config.catalogFile)
  const catalogue = new ImageCatalogue({ programRoot, nodePath: process.execPath, mappings })
  catalogue.setDefined(config.images)
  return catalogue
}
