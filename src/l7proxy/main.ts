/**
 * The program of a gateway's or waypoint's pod: our own proxy, or the agent beside a stock Envoy. Only the one
 * that is wanted is loaded.
 */
import { createLogger, type Logger, systemClock, toError } from '../base/index.ts'
import { engineOf } from './engine.ts'
import { limits } from './limits.ts'

/** Runs until a signal comes; the exit code. */
async function runOwn(logger: Logger): Promise<number> {
  const [{ L7Proxy }, { readConfig }] = await Promise.all([
    import('./app.ts'),
    import('./config.ts'),
  ])
  const grace = Number(process.env.TERMINATION_DRAIN_DURATION_SECONDS)
  const proxy = new L7Proxy({
    config: readConfig(process.env, grace > 0 ? grace * 1000 : limits.drainMs),
    clock: systemClock,
    logger,
    random: Math.random,
    accessLog: (line) => void process.stdout.write(`${line}\n`),
  })
  const asked = Promise.withResolvers<void>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => asked.resolve())
  await proxy.start()
  await asked.promise
  await proxy.stop()
  return 0
}

async function main(): Promise<void> {
  const logger = createLogger('l7proxy', {
    write: (line) => void process.stdout.write(line),
    now: () => systemClock.now(),
    format: process.env.LOG_FORMAT === 'json' ? 'json' : 'text',
    level: process.env.LOG_LEVEL === 'debug' ? 'debug' : 'info',
  })
  try {
    if (engineOf(process.env, process.argv.slice(2)) === 'weft') process.exit(await runOwn(logger))
    const { runAgent } = await import('./agent/index.ts')
    process.exit(await runAgent(logger))
  } catch (error) {
    logger.error('the proxy failed', { error: toError(error).message })
    process.exit(1)
  }
}

if (import.meta.main) await main()
