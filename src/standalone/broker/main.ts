/** Entry point of the broker process. Its first message on the IPC channel is its configuration. */
import { createLogger, systemClock } from '../../base/index.ts'
import { writeLogLine } from '../state/log-line.ts'
import { Broker } from './app.ts'
import { type BrokerConfig, type BrokerToStarter, toWireError } from './protocol.ts'

const logger = createLogger('broker', {
  write: writeLogLine,
  now: () => systemClock.now(),
})

function tellStarter(message: BrokerToStarter): void {
  if (process.connected) process.send?.(message, undefined, {}, () => {})
}

async function run(config: BrokerConfig): Promise<void> {
  process.title = `weft-broker ${config.name}`
  const broker = new Broker({
    config,
    clock: systemClock,
    logger,
    tellStarter,
    onEnd: (code) => process.exit(code),
  })
  process.on('disconnect', () => broker.starterGone())
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void broker.stop())
  try {
    await broker.start()
  } catch (error) {
    logger.error('start failed', { error: toWireError(error).message })
    tellStarter({ type: 'failed', error: toWireError(error) })
    await broker.stop(1)
  }
}

// Nobody is there to tell us what to run: end instead of waiting forever.
if (process.send === undefined) process.exit(2)
process.once('message', (config) => void run(config as BrokerConfig))
