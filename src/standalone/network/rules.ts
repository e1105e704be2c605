/** The node's rules, in nftables where there is `nft`, else in iptables. */
import { MeshError } from '../../base/index.ts'
import { findTool } from '../../linux/index.ts'
import { IptablesRules } from './rules-iptables.ts'
import { NftRules } from './rules-nft.ts'
import type { VirtualPort } from './service-table.ts'
import { installHint } from './tools.ts'

export interface RuleWriter {
  /** Makes exactly these virtual ports work, at once or (on a rejection) as before or not at all. */
  apply(wanted: ReadonlyMap<string, VirtualPort>): Promise<void>
}

/** @param relayPort where the egress relay listens on the node's address */
export function createRules(
  relayPort: number,
  find: (name: string) => string | undefined = findTool,
): RuleWriter {
  const nft = find('nft')
  if (nft !== undefined) return new NftRules(nft, relayPort)
  const restore = find('iptables-restore')
  if (restore !== undefined) return new IptablesRules(restore, relayPort)
  throw new MeshError('NETWORK_TOOLS', 'neither nft nor iptables-restore was found', {
    hint: installHint('nftables'),
  })
}
