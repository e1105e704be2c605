/**
 * Pod networks as runtime and node agent see them together: a pod's namespace is made, the agent
 * captures it if the pod is in the mesh, and only then its containers start.
 */
import type { KubeClient } from '../../client/index.ts'
import { resources } from '../../kube/index.ts'
import type { NetnsSource, NodeAgent, Pod } from '../../nodeagent/index.ts'
import type { PodNetworks } from '../network/pods.ts'
import type { PodNetwork, PodNetworkRequest, PodSandbox } from '../runtime/network.ts'

export class MeshPodNetwork implements PodNetwork, NetnsSource {
  readonly hostIp: string
  readonly #networks: PodNetworks
  readonly #client: KubeClient
  readonly #sandboxes = new Map<string, PodSandbox>()
  readonly #listeners = new Set<(podUid: string) => void>()
  #agent: Pick<NodeAgent, 'admit'> | undefined

  constructor(networks: PodNetworks, client: KubeClient) {
    this.#networks = networks
    this.#client = client
    this.hostIp = networks.hostIp
  }

  /** The agent is made with this as its source of namespaces, so it comes later. */
  admitBy(agent: Pick<NodeAgent, 'admit'>): void {
    this.#agent = agent
  }

  async setup(request: PodNetworkRequest): Promise<PodSandbox> {
    const { uid, namespace, name } = request
    const known = this.#sandboxes.get(uid)
    if (known !== undefined) return known
    const [sandbox, pod] = await Promise.all([
      this.#networks.setup(request),
      this.#client.get<Pod>(resources.pods, namespace, name),
    ])
    this.#sandboxes.set(uid, sandbox)
    try {
      // A rejection keeps the containers from starting: better no pod than one outside the mesh.
      if (pod?.metadata.uid === uid) await this.#agent?.admit(pod)
    } catch (error) {
      await this.teardown(uid)
      throw error
    }
    return sandbox
  }

  async teardown(uid: string): Promise<void> {
    if (this.#sandboxes.delete(uid)) for (const listener of this.#listeners) listener(uid)
    await this.#networks.teardown(uid)
  }

  netnsOf(podUid: string): { readonly fd: number; readonly path: string } | undefined {
    const sandbox = this.#sandboxes.get(podUid)
    return sandbox === undefined ? undefined : { fd: sandbox.netnsFd, path: sandbox.netnsPath }
  }

  onChange(listener: (podUid: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
