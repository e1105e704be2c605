/** The controllers that make a registry behave like a cluster: composed here, in start order. */
import { type Clock, type Component, type Logger, startAll, stopAll } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { AutoscalerController } from './autoscaler/autoscaler.ts'
import { ClaimNotices } from './claims.ts'
import { type ControllerContext, SharedInformers } from './context.ts'
import { DaemonSetController } from './daemon-set.ts'
import { DeploymentController } from './deployment.ts'
import { DisruptionController } from './disruption.ts'
import { EndpointSliceController } from './endpoint-slice.ts'
import { EventExpiry } from './event-expiry.ts'
import { EventRecorder } from './events.ts'
import { GarbageCollector } from './garbage.ts'
import { CronJobController } from './jobs/cron-job.ts'
import { JobController } from './jobs/job.ts'
import { NamespaceController } from './namespace.ts'
import { ReplicaSetController } from './replica-set.ts'
import { StatefulSetController } from './stateful-set.ts'

export { SharedInformers } from './context.ts'
export { EventRecorder } from './events.ts'

export interface ControllersOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  /** The API server's root, for `kube-root-ca.crt`. */
  readonly caPem: string
  /** A number from 0 to 1; default Math.random. */
  readonly random?: () => number
}

export function createControllers(options: ControllersOptions): Component {
  const { client, clock, caPem, random = Math.random } = options
  const logger = options.logger.child('controllers')
  const informers = new SharedInformers({ client, clock, logger })
  const events = new EventRecorder({ client, clock, logger, component: 'weft-controllers' })
  const context: ControllerContext = { client, clock, logger, informers, events, random }
  const parts: Component[] = [
    new NamespaceController(context, caPem),
    new ReplicaSetController(context),
    new DeploymentController(context),
    new DaemonSetController(context),
    new StatefulSetController(context),
    new JobController(context),
    new CronJobController(context),
    new DisruptionController(context),
    new AutoscalerController(context),
    new ClaimNotices(context),
    new EventExpiry(context),
    new EndpointSliceController(context),
    new GarbageCollector(context),
  ]
  // Controllers name their informers when constructed; caches are full before any controller acts.
  const order: Component[] = [informers, ...parts]
  return {
    start: (signal) => startAll(order, signal),
    stop: (deadline) => stopAll(order, deadline),
  }
}
