/**
 * A registry alone in a process of its own, for tests that kill it, count its memory or talk to it from
 * outside. `registry-process.ts DIRECTORY [HASTE]` takes a free loopback port and tells its parent over IPC;
 * waits pass HASTE times as fast.
 */
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type Clock, silentLogger, systemClock } from '../../src/base/index.ts'
import { createRegistry } from '../../src/registry/index.ts'

/** What the parent is told; asked again with the message `memory`, it gets `{rssBytes}`. */
export interface Ready {
  readonly url: string
  readonly kubeconfig: string
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
}

const [dir = '', haste = '1'] = process.argv.slice(2)
const after: Clock['after'] = (ms, callback, options) =>
  systemClock.after(ms / Number(haste), callback, options)
const registry = createRegistry({
  dir,
  name: 'test',
  clock: { ...systemClock, after },
  logger: silentLogger,
  version: '0.0.0',
})
const listener = createServer()
registry.attach(listener)
try {
  await registry.start()
} catch (error) {
  process.stderr.write(`${String(error)}\n${(error as { hint?: string }).hint ?? ''}\n`)
  process.exit(1)
}
await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', 4_096, resolve))
const url = `https://127.0.0.1:${(listener.address() as AddressInfo).port}`
const kubeconfig = join(dir, 'kubeconfig')
await registry.writeKubeconfig(kubeconfig, url)
const { certPem, keyPem } = registry.adminCredentials
process.send?.({ url, kubeconfig, caPem: registry.caCertificatePem, certPem, keyPem })

async function stop(): Promise<void> {
  // A test must not hang with us: whoever looks at the exit code sees what happened.
  setTimeout(() => process.exit(3), 10_000).unref()
  listener.close()
  await registry.stop(200)
  process.exit(0)
}

process.on('SIGTERM', () => void stop())
process.on('disconnect', () => void stop())
process.on('message', (message) => {
  if (message !== 'memory') return
  globalThis.gc?.()
  process.send?.({ rssBytes: process.memoryUsage.rss() })
})
