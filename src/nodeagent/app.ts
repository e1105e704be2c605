/** The node agent with its real parts, in start order. */
import { type Component, startAll, stopAll } from '../base/index.ts'
import { createInformer, type KubeClient } from '../client/index.ts'
import { EventRecorder } from '../controllers/index.ts'
import { resources } from '../kube/index.ts'
import { createNodeAgent } from './agent.ts'
import type { NodeAgent, NodeAgentOptions, Pod } from './types.ts'

export type NodeAgentAppOptions = Omit<NodeAgentOptions, 'informers' | 'events'> & {
  readonly client: KubeClient
}

/** An agent with informers of its own: for a program that has none to share. */
export function createNodeAgentApp(options: NodeAgentAppOptions): NodeAgent {
  const { client, clock, logger, nodeName } = options
  const pods = createInformer<Pod>({
    client,
    clock,
    logger,
    gvr: resources.pods,
    ...(nodeName === undefined ? {} : { fieldSelector: `spec.nodeName=${nodeName}` }),
  })
  const namespaces = createInformer({ client, clock, logger, gvr: resources.namespaces })
  const events = new EventRecorder({ client, clock, logger, component: 'istio-cni' })
  const agent = createNodeAgent({ ...options, informers: { pods, namespaces }, events })
  const parts: readonly Component[] = [namespaces, pods, agent]
  return {
    start: (signal) => startAll(parts, signal),
    stop: (deadlineMs) => stopAll(parts, deadlineMs),
    admit: (pod) => agent.admit(pod),
    list: () => agent.list(),
    get proxies() {
      return agent.proxies
    },
  }
}
