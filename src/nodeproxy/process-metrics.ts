/** What the process and its connections look like as a whole. */
import { readdirSync, readFileSync } from 'node:fs'
import type { MetricsRegistry } from '../metrics/index.ts'
import type { ConnectionManager } from './connections.ts'

export function registerProcessMetrics(metrics: MetricsRegistry): void {
  metrics
    .gauge('istio_build', 'The build of this component.', {
      labels: ['component', 'tag'],
      expires: false,
    })
    .child('ztunnel', 'weft')
    .set(1)
  const files = metrics.gauge('process_open_fds', 'Open file descriptors.').child()
  const most = metrics.gauge('process_max_fds', 'Most file descriptors at once.').child()
  const memory = metrics.gauge('process_resident_memory_bytes', 'Resident memory.').child()
  metrics.onCollect(() => {
    memory.set(process.memoryUsage.rss())
    try {
      files.set(readdirSync('/proc/self/fd').length)
      const limits = readFileSync('/proc/self/limits', 'latin1')
      const soft = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1])
      if (Number.isFinite(soft)) most.set(soft)
    } catch {
      // No /proc: the gauges stay at their last values.
    }
  })
}

/** Of one thread; a scrape adds those of all threads up. */
export function registerConnectionMetrics(
  metrics: MetricsRegistry,
  connections: ConnectionManager,
): void {
  const sockets = metrics.gauge('istio_tcp_sockets_open', 'Connections under way.', {
    labels: ['reporter'],
    expires: false,
  })
  const outbound = sockets.child('source')
  const inbound = sockets.child('destination')
  metrics.onCollect(() => {
    const open = connections.countByDirection()
    outbound.set(open.outbound)
    inbound.set(open.inbound)
  })
}
