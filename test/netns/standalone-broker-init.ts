/** The smallest init: says that it is ready, leaves an orphan that ends, and waits. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { InitToBroker } from '../../src/standalone/broker/protocol.ts'
import { BrokerLink } from '../../src/standalone/init/link.ts'

const link = new BrokerLink((message: InitToBroker) => void process.send?.(message))
process.on('message', (message, handle) => link.receive(message as never, handle))
process.on('disconnect', () => process.exit(1))
link.handle({ stop: () => process.exit(0), applySamples: async () => {}, setImages: () => {} })
const config = await link.config
const registry = await link.listener('registry')
registry.server.on('connection', (socket) => socket.end('from inside'))
// A grandchild whose parent ends first: it becomes PID 1's, and a zombie if nobody reaps it.
spawn('sh', ['-c', 'sleep 0.1 & exit 0'], { stdio: 'ignore' })
writeFileSync(join(config.stateDirectory, 'init-pid'), String(process.pid))
if (config.samples.includes('slow')) await new Promise((resolve) => setTimeout(resolve, 60_000))
if (config.samples.includes('broken')) {
  link.failed(new Error('this init can not start'))
  process.exit(1)
}
link.ready()
