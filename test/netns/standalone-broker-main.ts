/** `broker/main.ts` with the smallest init behind it. */
import { fileURLToPath } from 'node:url'
import { createLogger, systemClock } from '../../src/base/index.ts'
import { Broker } from '../../src/standalone/broker/app.ts'
import { type BrokerConfig, toWireError } from '../../src/standalone/broker/protocol.ts'

process.once('message', async (config) => {
  const broker = new Broker({
    config: config as BrokerConfig,
    clock: systemClock,
    logger: createLogger('broker', { write: (line) => process.stderr.write(line), now: Date.now }),
    tellStarter: (message) => process.connected && process.send?.(message),
    onEnd: (code) => process.exit(code),
    initEntry: fileURLToPath(new URL('standalone-broker-init.ts', import.meta.url)),
  })
  process.on('disconnect', () => broker.starterGone())
  try {
    await broker.start()
  } catch (error) {
    if (process.connected) process.send?.({ type: 'failed', error: toWireError(error) })
    await broker.stop(1)
  }
})
