/** Entry point of init, the one process that runs the node: started by the broker in its tree. */
import { createLogger, systemClock } from '../../base/index.ts'
import type { BrokerToInit, InitToBroker } from '../broker/protocol.ts'
import { writeLogLine } from '../state/log-line.ts'
import { Init } from './app.ts'
import { BrokerLink } from './link.ts'

const logger = createLogger('init', {
  write: writeLogLine,
  now: () => systemClock.now(),
})

function send(message: InitToBroker): void {
  if (process.connected) process.send?.(message, undefined, {}, () => {})
}

async function main(): Promise<void> {
  const link = new BrokerLink(send)
  // Only the broker holds the other end.
  process.on('message', (message, handle) => link.receive(message as BrokerToInit, handle))
  // Without the broker there is no way in or out: end at once, and the kernel ends the rest.
  process.on('disconnect', () => process.exit(1))
  // One part's mistake must not take the pods down; it is in the log.
  process.on('unhandledRejection', (reason) => {
    logger.error('unhandled rejection', {
      error: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason),
    })
  })

  const config = await link.config
  process.title = `weft-init ${config.name}`
  const init = new Init({
    config,
    link,
    clock: systemClock,
    logger,
    // For tests of expiry only; see CONTRIBUTING.md.
    certificateSeconds: Number(process.env.WEFT_TEST_CERTIFICATE_SECONDS) || undefined,
  })
  link.handle({
    stop: (deadlineMs) => void init.stop(deadlineMs).finally(() => process.exit(0)),
    applySamples: (samples) => init.applySamples(samples),
    setImages: (images) => init.setImages(images),
  })
  try {
    await init.start()
    link.ready()
  } catch (error) {
    logger.error('start failed', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    link.failed(error)
    await init.stop(2_000)
    process.exit(1)
  }
}

if (import.meta.main) await main()
