/** What the runtime asks of pod networking; `standalone/network` implements it. */

export interface PodNetworkRequest {
  readonly uid: string
  readonly namespace: string
  readonly name: string
}

export interface PodSandbox {
  readonly ip: string
  /** A bind mount or `/proc/<pid>/ns/net`. */
  readonly netnsPath: string
  /** Open as long as the sandbox lives; owned by the network. */
  readonly netnsFd: number
}

export interface PodNetwork {
  /** Namespace, veth, address and routes of a pod. Calling it again for the same uid gives the same. */
  setup(pod: PodNetworkRequest): Promise<PodSandbox>
  /** Takes everything down again; a uid that is not known is no error. */
  teardown(uid: string): Promise<void>
  /** The node's address, and that of pods with `hostNetwork`. */
  readonly hostIp: string
}
