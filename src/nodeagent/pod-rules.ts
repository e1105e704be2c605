/** Writes and removes the rules of a pod with the tools that this machine has. */
import { readFileSync, writeFileSync } from 'node:fs'
import { type Logger, MeshError, toError } from '../base/index.ts'
import { closeFd, createNetns, findTool, ipBatch, runRules, withNetns } from '../linux/index.ts'
import { parseSave, renderIptables } from './render-iptables.ts'
import { renderNft } from './render-nft.ts'
import {
  markMask,
  type PodRule,
  type PodRuleOptions,
  replyMark,
  routing,
  rulesOf,
} from './rules.ts'
import type { RuleBackend } from './types.ts'

/** Brings a namespace to exactly these rules; an empty list removes them. Repeating it changes nothing. */
type Writer = (netnsFd: number, rules: readonly PodRule[], ipv6: boolean) => Promise<void>

export interface PodRules {
  readonly backend: RuleBackend
  apply(netnsFd: number, options: PodRuleOptions): Promise<void>
  /** Complete, whatever was applied; what is absent already is no error. */
  remove(netnsFd: number): Promise<void>
}

export interface PodRulesOptions {
  /** Folders to look into before the usual ones. */
  readonly tools: readonly string[]
  readonly backend?: RuleBackend
  readonly logger: Logger
}

const everything: PodRuleOptions = { dns: true, inbound: true, ipv6: true, virtualInterfaces: [] }

/**
 * Picks the backend by writing all rules into a namespace made for that: a tool that is installed may
 * still lack its kernel modules. nft comes first, as one process writes both families in one step.
 */
export async function choosePodRules(options: PodRulesOptions): Promise<PodRules> {
  const ip = findTool('ip', options.tools)
  if (ip === undefined) {
    throw new MeshError('NODEAGENT_NO_IP', 'the program `ip` was not found', {
      hint: 'Install iproute2.',
    })
  }
  const wanted: readonly RuleBackend[] =
    options.backend === undefined ? ['nft', 'iptables'] : [options.backend]
  const failures: string[] = []
  for (const backend of wanted) {
    const writer = backend === 'nft' ? nftWriter(options.tools) : iptablesWriter(options.tools)
    if (typeof writer === 'string') {
      failures.push(writer)
      continue
    }
    const rules = new ToolPodRules(backend, writer, ip)
    try {
      await probe(rules)
      options.logger.info('pod rules are written with', { backend })
      return rules
    } catch (error) {
      failures.push(`${backend}: ${toError(error).message}`)
    }
  }
  throw new MeshError('NODEAGENT_NO_BACKEND', `no way to write pod rules: ${failures.join('; ')}`, {
    hint:
      'Install nftables or iptables, and load the kernel modules nf_tables, nft_redir, nft_ct, nft_nat (or ' +
      'iptable_nat, iptable_mangle, iptable_raw, xt_REDIRECT, xt_connmark, xt_CT) on the host.',
  })
}

async function probe(rules: PodRules): Promise<void> {
  const netnsFd = createNetns()
  try {
    await rules.apply(netnsFd, { ...everything, ipv6: hasIpv6(netnsFd) })
  } finally {
    closeFd(netnsFd)
  }
}

/** Whether the namespace has IPv6 at all: only then rules for it are needed, or possible. */
export function hasIpv6(netnsFd: number): boolean {
  try {
    // This file shows the namespace of the thread that opens it.
    const path = '/proc/sys/net/ipv6/conf/lo/disable_ipv6'
    return withNetns(netnsFd, () => readFileSync(path, 'latin1')).trim() === '0'
  } catch {
    return false
  }
}

/**
 * Nothing tracks connections in a pod before the first rule, so that the next packet of an open connection looks
 * like a new one to the kernel and would be redirected, which breaks it. With this setting only a
 * SYN begins a connection; packets from the middle of one are untracked, and pass.
 */
function leaveOpenConnections(netnsFd: number): void {
  try {
    const path = '/proc/sys/net/netfilter/nf_conntrack_tcp_loose'
    withNetns(netnsFd, () => writeFileSync(path, '0'))
  } catch {
    // Kernels without the setting: connections that are open at enrolment may be reset.
  }
}

/**
 * When a node proxy closes its listeners, connections it has not accepted yet go over to the listeners
 * of its successor on the same ports, instead of being reset.
 */
function passOnConnections(netnsFd: number): void {
  try {
    withNetns(netnsFd, () => writeFileSync('/proc/sys/net/ipv4/tcp_migrate_req', '1'))
  } catch {
    // Kernels before 5.14: a connection that opens in the very moment of a hand-over may be reset.
  }
}

class ToolPodRules implements PodRules {
  readonly backend: RuleBackend
  readonly #write: Writer
  readonly #ip: string

  constructor(backend: RuleBackend, write: Writer, ip: string) {
    this.backend = backend
    this.#write = write
    this.#ip = ip
  }

  async apply(netnsFd: number, options: PodRuleOptions): Promise<void> {
    leaveOpenConnections(netnsFd)
    passOnConnections(netnsFd)
    // Routes first: they do nothing until a rule sets the mark.
    await this.#route(netnsFd, 'add', options.ipv6)
    await this.#write(netnsFd, rulesOf(options), options.ipv6)
  }

  async remove(netnsFd: number): Promise<void> {
    const ipv6 = hasIpv6(netnsFd)
    await this.#write(netnsFd, [], ipv6)
    await this.#route(netnsFd, 'del', ipv6)
  }

  async #route(netnsFd: number, verb: 'add' | 'del', ipv6: boolean): Promise<void> {
    await Promise.all(
      (ipv6 ? ([4, 6] as const) : ([4] as const)).map((family) =>
        ipBatch(routingLines(family, verb), {
          netnsFd,
          family,
          tool: this.#ip,
          ignore:
            verb === 'add'
              ? /File exists/
              : /No such (file|process)|FIB table does not exist|Cannot find/,
        }),
      ),
    )
  }
}

/** Lines for `ip -batch`. */
export function routingLines(family: 4 | 6, verb: 'add' | 'del'): string[] {
  const { table, preference } = routing
  const everywhere = family === 4 ? '0.0.0.0/0' : '::/0'
  const mark = `0x${replyMark.toString(16)}/0x${markMask.toString(16)}`
  return [
    `route ${verb} local ${everywhere} dev lo table ${table}`,
    `rule ${verb} fwmark ${mark} lookup ${table} pref ${preference}`,
  ]
}

function nftWriter(tools: readonly string[]): Writer | string {
  const path = findTool('nft', tools)
  if (path === undefined) return 'nft is not installed'
  return async (netnsFd, rules, ipv6) => {
    await runRules({ path, args: ['-f', '-'], stdin: renderNft(rules, { ipv6 }), netnsFd })
  }
}

function iptablesWriter(tools: readonly string[]): Writer | string {
  const find = (name: string): string | undefined => findTool(name, tools)
  const [save4, restore4] = [find('iptables-save'), find('iptables-restore')]
  const [save6, restore6] = [find('ip6tables-save'), find('ip6tables-restore')]
  if (save4 === undefined || restore4 === undefined) return 'iptables-restore is not installed'
  const one = async (
    netnsFd: number,
    rules: readonly PodRule[],
    family: 4 | 6,
    save: string,
    restore: string,
  ): Promise<void> => {
    const installed = parseSave(await runRules({ path: save, args: [], stdin: '', netnsFd }))
    const stdin = renderIptables(rules, family, installed)
    if (stdin === undefined) return
    await runRules({ path: restore, args: ['--noflush', '--wait', '10'], stdin, netnsFd })
  }
  return async (netnsFd, rules, ipv6) => {
    const families = [one(netnsFd, rules, 4, save4, restore4)]
    if (ipv6) {
      if (save6 === undefined || restore6 === undefined) {
        // Without it the pod's IPv6 traffic would leave in plaintext.
        throw new MeshError(
          'NODEAGENT_NO_IP6TABLES',
          'the pod has IPv6 but ip6tables-restore was not found',
          {
            hint: 'Install ip6tables (package iptables), or switch IPv6 off in the pod.',
          },
        )
      }
      families.push(one(netnsFd, rules, 6, save6, restore6))
    }
    await Promise.all(families)
  }
}
