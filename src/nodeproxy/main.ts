/** The process of the node proxy: environment, signals, standard output. */
import { createLogger, LogControl, systemClock, toError } from '../base/index.ts'
import { NodeProxy } from './app.ts'
import { readConfig } from './config.ts'
import { describe } from './errors.ts'
import { createLineWriter } from './line-writer.ts'

/** `proxy ztunnel` is what Istio's images are called with; `--workers N` is ours. */
function flagsOf(words: readonly string[]): Record<string, string> {
  const at = words.findIndex((word) => /^--workers(=|$)/.test(word))
  if (at < 0) return {}
  const value = words[at]?.split('=')[1] ?? words[at + 1] ?? ''
  return { ZTUNNEL_WORKER_THREADS: value === '' ? 'missing' : value }
}

async function main(): Promise<void> {
  const config = readConfig({ ...process.env, ...flagsOf(process.argv.slice(2)) })
  const logControl = new LogControl(config.logLevel)
  for (const [scope, level] of config.logLevels) logControl.setLevel(level, scope)
  const lines = createLineWriter(process.stdout, systemClock)
  const logger = createLogger(
    'ztunnel',
    { write: lines.write, now: () => systemClock.now(), format: config.logFormat },
    logControl,
  )
  let stopping = false
  const stop = async (exitCode: number): Promise<void> => {
    if (stopping) return
    stopping = true
    await proxy.stop().catch((error: unknown) => {
      logger.error('stopping failed', { error: toError(error).message })
    })
    lines.flush()
    process.exit(exitCode)
  }
  const proxy = new NodeProxy({
    config,
    clock: systemClock,
    logger,
    logControl,
    write: lines.write,
    random: Math.random,
    onQuit: (exitCode) => void stop(exitCode),
  })
  process.on('SIGTERM', () => void stop(0))
  process.on('SIGINT', () => void stop(0))
  // One pod's trouble must not end the others': what is still uncaught is a defect, and logged as one.
  process.on('uncaughtException', (error) => {
    logger.error('uncaught error', { error: error.stack ?? error.message })
  })
  try {
    await proxy.start()
    logger.info('node proxy started', { node: config.node.id, zds: config.zdsPath })
  } catch (error) {
    logger.error('the node proxy could not start', { error: describe(toError(error)) })
    lines.flush()
    process.exit(1)
  }
}

if (import.meta.main) await main()
