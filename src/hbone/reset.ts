/** RST_STREAM without a normal end before it. */
import type { Duplex } from 'node:stream'
import { MeshError } from '../base/index.ts'

/**
 * Ends a tunnel so that the peer sees a failure. `Http2Stream.close(code)` is not that: it sends
 * END_STREAM first, and the peer would take a broken transfer for a complete one. Destroying with an
 * error sends RST_STREAM alone.
 */
export function resetStream(stream: Duplex): void {
  if (!stream.destroyed) stream.destroy(new MeshError('HBONE_RESET', 'the stream was reset'))
}
