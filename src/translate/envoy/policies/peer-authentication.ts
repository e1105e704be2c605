/**
 * What a sidecar's inbound ports accept: mutual TLS, plaintext, or both. The closest PeerAuthentication
 * that says something decides: port, workload, namespace, mesh; the oldest where several could.
 */
import { type MutualTlsMode, type PeerAuthentication, selects } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import type { ProxyView } from '../proxy.ts'

export type EffectiveMutualTls = Exclude<MutualTlsMode, 'UNSET'>

export interface InboundMutualTls {
  readonly mode: EffectiveMutualTls
  /** Ports of the workload that differ from `mode`. */
  readonly ports: ReadonlyMap<number, EffectiveMutualTls>
}

export function inboundMutualTls(
  reader: Reader,
  proxy: Pick<ProxyView, 'namespace' | 'labels'>,
): InboundMutualTls {
  const { rootNamespace } = reader.settings
  const wide = (namespace: string): PeerAuthentication | undefined =>
    reader.peerAuthentications(namespace).find(({ selector }) => selector === undefined)
  const levels: (PeerAuthentication | undefined)[] = []
  // In the root namespace only what is for the whole mesh counts.
  if (proxy.namespace === rootNamespace) levels.push(undefined)
  else {
    const own = reader.peerAuthentications(proxy.namespace)
    levels.push(
      own.find(({ selector }) => selector !== undefined && selects(selector, proxy.labels)),
      wide(proxy.namespace),
    )
  }
  levels.push(wide(rootNamespace))
  const mode = firstSet(levels.map((policy) => policy?.mode ?? 'UNSET')) ?? 'PERMISSIVE'
  const ports = new Map<number, EffectiveMutualTls>()
  for (const { port, mode: wanted } of levels[0]?.portModes ?? []) {
    if (wanted !== 'UNSET' && wanted !== mode) ports.set(port, wanted)
  }
  return { mode, ports }
}

function firstSet(modes: readonly MutualTlsMode[]): EffectiveMutualTls | undefined {
  for (const mode of modes) if (mode !== 'UNSET') return mode
  return undefined
}
