/**
 * MeshConfig as it is when the control plane starts. What is signed with a trust domain keeps it as
 * long as the process lives, so that it has to be known before anything else; everything else in
 * MeshConfig takes effect whenever it changes.
 */
import { Backoff, type Clock, type Logger, sleep, toError } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { modelEvents } from '../ingest/index.ts'
import { resources } from '../kube/index.ts'
import { buildSnapshot, type MeshSettings, meshConfigMap } from '../model/index.ts'

export interface StartupOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly signal?: AbortSignal
}

/** The settings with the trust domain of MeshConfig; waits for the API server as long as it takes. */
export async function settingsAtStart(
  settings: MeshSettings,
  options: StartupOptions,
): Promise<MeshSettings> {
  const { client, clock, logger, signal } = options
  const backoff = new Backoff({ initialMs: 100, maxMs: 5_000 })
  const names = [meshConfigMap(settings.revision), settings.sharedMeshConfig ?? '']
  for (;;) {
    try {
      const found = await Promise.all(
        names
          .filter((name) => name !== '')
          .map((name) => client.get(resources.configmaps, settings.systemNamespace, name)),
      )
      const maps = found.filter((object) => object !== undefined)
      const events = modelEvents(maps, settings, (object, reason) =>
        logger.warn(`MeshConfig in ${object.metadata.name} can't be read`, { reason }),
      )
      const { trustDomain } = buildSnapshot(settings, events).settings
      return { ...settings, trustDomain }
    } catch (error) {
      if (signal?.aborted === true) throw error
      logger.warn('reading MeshConfig failed; trying again', { error: toError(error).message })
      await sleep(clock, backoff.next(), signal)
    }
  }
}
