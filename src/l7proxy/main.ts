/** The program of a gateway pod. */
import { createLogger, systemClock, toError } from '../base/index.ts'
import { L7Proxy } from './app.ts'
import { readConfig } from './config.ts'
import { limits } from './limits.ts'

async function main(): Promise<void> {
  const logger = createLogger('l7proxy', {
    write: (line) => void process.stdout.write(line),
    now: () => systemClock.now(),
    format: process.env.LOG_FORMAT === 'json' ? 'json' : 'text',
    level: process.env.LOG_LEVEL === 'debug' ? 'debug' : 'info',
  })
  const grace = Number(process.env.TERMINATION_DRAIN_DURATION_SECONDS)
  const proxy = new L7Proxy({
    config: readConfig(process.env, grace > 0 ? grace * 1000 : limits.drainMs),
    clock: systemClock,
    logger,
    random: Math.random,
    accessLog: (line) => void process.stdout.write(`${line}\n`),
  })

  async function shutdown(): Promise<void> {
    try {
      await proxy.stop()
      process.exit(0)
    } catch (error) {
      logger.error('stopping failed', { error: toError(error).message })
      process.exit(1)
    }
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void shutdown())

  try {
    await proxy.start()
  } catch (error) {
    logger.error('starting failed', { error: toError(error).message })
    process.exit(1)
  }
}

if (import.meta.main) await main()
