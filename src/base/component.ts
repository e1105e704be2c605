/**
 * The life cycle of every long-lived part:
 * 1. the constructor takes its collaborators and does nothing else;
 * 2. `start` returns when the part does its work (listening, synced), or throws;
 * 3. `stop` returns when it has released everything, at the latest after `deadlineMs`.
 */
export interface Component {
  start(signal?: AbortSignal): Promise<void>
  stop(deadlineMs?: number): Promise<void>
}

/** Starts parts in order; when one fails, stops those already started, last first. */
export async function startAll(parts: readonly Component[], signal?: AbortSignal): Promise<void> {
  const started: Component[] = []
  try {
    for (const part of parts) {
      await part.start(signal)
      started.push(part)
    }
  } catch (error) {
    await stopAll(started)
    throw error
  }
}

/** Stops parts in the reverse of their start order; one that fails does not keep the others up. */
export async function stopAll(parts: readonly Component[], deadlineMs?: number): Promise<void> {
  const errors: unknown[] = []
  for (const part of parts.toReversed()) {
    try {
      await part.stop(deadlineMs)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, 'stopping failed')
}
