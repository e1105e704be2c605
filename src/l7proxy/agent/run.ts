/** The process of a pod whose engine is a stock Envoy. */
import { writeFileSync } from 'node:fs'
import { type Logger, MeshError, systemClock, toError } from '../../base/index.ts'
import { ProxyAgent } from './app.ts'
import { readAgentConfig } from './config.ts'
import { limits } from './limits.ts'
import { locateEnvoy } from './locate.ts'

/** Runs until Envoy has ended or a signal came; the exit code. */
export async function runAgent(logger: Logger): Promise<number> {
  try {
    const envoyPath = locateEnvoy(process.env)
    const quit = Promise.withResolvers<undefined>()
    const agent = new ProxyAgent({
      config: readAgentConfig(process.env, process.argv.slice(2)),
      envoyPath,
      clock: systemClock,
      logger,
      random: Math.random,
      quit: () => quit.resolve(undefined),
    })
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => quit.resolve(undefined))
    }
    await agent.start()
    const failure = await Promise.race([agent.ended, quit.promise])
    await agent.stop()
    if (failure !== undefined) throw failure
    return 0
  } catch (thrown) {
    tell(logger, toError(thrown))
    return 1
  }
}

/** In the log, and where the pod's status shows it. */
function tell(logger: Logger, error: Error): void {
  const hint = error instanceof MeshError ? (error.hint ?? '') : ''
  logger.error(error.message, { hint })
  const path = process.env.TERMINATION_MESSAGE_PATH ?? '/dev/termination-log'
  const text = [error.message, hint].filter((part) => part !== '').join('. ')
  try {
    writeFileSync(path, Buffer.from(text).subarray(0, limits.terminationMessageBytes))
  } catch {
    // Outside of pods there is no such file; the log has said it.
  }
}
