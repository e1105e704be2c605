/** What the node agent takes from the rest of the program. */
import type { Clock, Component, Logger } from '../base/index.ts'
import type { Informer, KubeClient } from '../client/index.ts'
import type { KubeObject, LabelSelector } from '../kube/index.ts'

export interface PodSpec {
  readonly nodeName?: string
  readonly hostNetwork?: boolean
  readonly serviceAccountName?: string
}

export interface PodStatus {
  readonly phase?: string
}

export type Pod = KubeObject<PodSpec, PodStatus>

/** Where pods' network namespaces are; the runtime, or on a cluster a scan of /proc, knows. */
export interface NetnsSource {
  /**
   * The namespace of a pod, or undefined when it has none (yet, or any more). The agent opens its own
   * descriptor; `fd` stays the source's and is preferred over `path`.
   */
  netnsOf(podUid: string): { readonly fd?: number; readonly path: string } | undefined
  /** Calls back when the answer for a pod may have changed. Returns the remover. */
  onChange(listener: (podUid: string) => void): () => void
}

/** Which pods belong to the mesh; any one pair is enough. An absent half selects everything. */
export interface EnablementSelector {
  readonly podSelector?: LabelSelector
  readonly namespaceSelector?: LabelSelector
}

export interface NodeAgentOptions {
  readonly client: KubeClient
  /** Started by the caller, before the agent. */
  readonly informers: {
    readonly pods: Informer<Pod>
    readonly namespaces: Informer
  }
  readonly netns: NetnsSource
  /** Where the node proxy connects (ZDS). */
  readonly socketPath: string
  readonly logger: Logger
  readonly clock: Clock
  /** Writes events on pods. */
  readonly events?: {
    record(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void
  }
  /** Folders in which `ip`, `nft` and `iptables-restore` are looked for first. */
  readonly tools?: readonly string[]
  /** Default: nft when it works on this kernel, else iptables. */
  readonly backend?: RuleBackend
  /** Redirect DNS of pods to the node proxy unless their annotation says otherwise. Default true. */
  readonly dnsCapture?: boolean
  /** Rules for IPv6 where the pod has it. Default true. */
  readonly ipv6?: boolean
  /** Only pods of this node; absent: all. */
  readonly nodeName?: string
  /** Where ztunnel runs. Default `istio-system`. */
  readonly systemNamespace?: string
  /** Default `kube-system`. */
  readonly excludeNamespaces?: readonly string[]
  /** Default: label istio.io/dataplane-mode=ambient on pod or namespace. */
  readonly enablementSelectors?: readonly EnablementSelector[]
  /**
   * How the node's own probes are told from traffic. `none`: they come from 169.254.7.127 already,
   * which is so in a standalone mesh.
   */
  readonly hostRules?: 'none'
  /** How long a pod that leaves the mesh keeps its proxy; see `limits.drainMs`. */
  readonly drainMs?: number
}

export type RuleBackend = 'nft' | 'iptables'

/** `excluded`: not part of the mesh. `waiting`: eligible, but its network namespace is not there. */
export type Enrolment = 'excluded' | 'waiting' | 'pending' | 'enabled'

export interface NodeAgent extends Component {
  /**
   * For the runtime, between making a pod's namespace and starting its containers: returns when the
   * pod is captured as far as it should be, so that not even its first packet escapes. Rejects when the
   * rules can't be written; then the containers must not start.
   */
  admit(pod: Pod): Promise<Enrolment>
  /** What the agent holds, for debug pages and tests. */
  list(): readonly {
    readonly uid: string
    readonly namespace: string
    readonly name: string
    readonly state: Enrolment
    readonly reason?: string
  }[]
  /** Connected node proxies. */
  readonly proxies: number
}
