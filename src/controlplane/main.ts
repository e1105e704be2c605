/** The program `istiod`. */
import { createLogger, systemClock, toError } from '../base/index.ts'
import { createKubeClient, inClusterOptions, kubeconfigOptions } from '../client/index.ts'
import { ControlPlane } from './app.ts'
import { readConfig } from './config.ts'
import { settingsAtStart } from './startup-mesh.ts'

async function main(): Promise<void> {
  const clock = systemClock
  const logger = createLogger('istiod', {
    write: (line) => void process.stdout.write(line),
    now: () => clock.now(),
    format: process.env.LOG_FORMAT === 'json' ? 'json' : 'text',
    level: process.env.LOG_LEVEL === 'debug' ? 'debug' : 'info',
  })
  const { KUBECONFIG: kubeconfig } = process.env
  const shutdownMs = 5_000
  const abort = new AbortController()

  try {
    const client = createKubeClient({
      ...(kubeconfig === undefined
        ? inClusterOptions(process.env, clock)
        : kubeconfigOptions(kubeconfig, clock)),
      userAgent: 'istiod',
    })
    const config = readConfig(process.env, process.argv.slice(2))
    // Filled later: a signal may come while we still wait for the API server.
    const running: { app?: ControlPlane } = {}
    let stopping = false
    const shutdown = async (): Promise<void> => {
      if (stopping) return
      stopping = true
      abort.abort(new Error('the control plane is told to stop'))
      // Streams that do not end must not keep the process.
      clock.after(shutdownMs, () => process.exit(0), { background: true })
      try {
        await running.app?.stop(shutdownMs)
      } catch (error) {
        logger.error('stopping failed', { error: toError(error).message })
      }
      client.close()
      process.exit(0)
    }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void shutdown())
    const startup = { client, clock, logger, signal: abort.signal }
    const settings = await settingsAtStart(config.settings, startup)
    running.app = new ControlPlane({
      config: { ...config, settings },
      client,
      clock,
      logger,
    })
    await running.app.start(abort.signal)
  } catch (error) {
    if (!abort.signal.aborted) {
      logger.error('starting failed', { error: toError(error).message })
      process.exit(1)
    }
  }
}

if (import.meta.main) await main()
