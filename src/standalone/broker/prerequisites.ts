/**
 * What the machine lacks, all of it at once, each with its fix. The kernel is asked by doing in a
 * scratch tree of namespaces what the mesh will do, not by guessing from versions.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { findTool } from '../../linux/index.ts'
import { installHint } from '../network/tools.ts'

export interface Problem {
  /** `platform`, `tool NAME`, `namespaces`, `kernel NAME`. */
  readonly what: string
  readonly message: string
  readonly fix: string
}

export interface PrerequisiteOptions {
  readonly mode: 'root' | 'rootless'
  /** Folders searched before the PATH. */
  readonly toolFolders: readonly string[]
  readonly platform?: string
  readonly find?: (name: string) => string | undefined
  readonly readFile?: (path: string) => string | undefined
  /** Runs the probe; tests answer for a machine that they don't have. */
  readonly probe?: (
    command: readonly string[],
    script: string,
  ) => Promise<{ output: string; error: string }>
}

const utilLinux = ['unshare', 'setpriv', 'nsenter', 'mount']

/** Every problem that keeps a mesh from starting here; empty when there is none. */
export async function checkPrerequisites(options: PrerequisiteOptions): Promise<Problem[]> {
  const platform = options.platform ?? process.platform
  if (platform !== 'linux') {
    return [
      {
        what: 'platform',
        message: `a mesh on this machine needs Linux, and this is ${platform === 'darwin' ? 'macOS' : platform}`,
        fix: 'Run it in a Linux virtual machine or WSL 2; the offline commands work here.',
      },
    ]
  }
  const find = options.find ?? ((name: string) => findTool(name, options.toolFolders))
  const problems: Problem[] = []
  const lack = (what: string, message: string, fix: string): void => {
    problems.push({ what, message, fix })
  }
  for (const name of utilLinux.filter((tool) => find(tool) === undefined)) {
    lack(`tool ${name}`, `the program "${name}" is missing`, installHint('util-linux'))
  }
  const ip = find('ip')
  if (ip === undefined) lack('tool ip', 'the program "ip" is missing', installHint('iproute2'))
  const nft = find('nft')
  const iptables = find('iptables')
  if (nft === undefined && iptables === undefined) {
    lack('tool nft', 'neither "nft" nor "iptables" is there', installHint('nftables'))
  }
  if (find('unshare') === undefined || find('setpriv') === undefined) return problems
  const script = probeScript(ip, nft, iptables)
  const { output, error } = await (options.probe ?? runProbe)(probeCommand(options.mode), script)
  if (!output.includes('tree ok')) {
    problems.push(namespaceProblem(options.mode, error, options.readFile ?? readText))
    return problems
  }
  for (const [, part = '', said = ''] of output.matchAll(/^lacks (\S+) ?(.*)$/gm)) {
    problems.push(kernelProblem(part, said))
  }
  return problems
}

function probeCommand(mode: 'root' | 'rootless'): string[] {
  const user = mode === 'rootless' ? ['--user', '--map-root-user'] : []
  const spaces = ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
  return ['setpriv', '--pdeathsig', 'KILL', 'unshare', ...user, ...spaces, 'sh', '-s']
}

const probeRules = `table ip weft-probe {
  map one { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain before {
    type nat hook prerouting priority -100
    ip daddr . meta l4proto . th dport vmap @one
    ct status dnat accept
    meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.9.9.1 . 80, 1 : 10.9.9.2 . 80 }
  }
  chain after {
    type nat hook postrouting priority 100
    ip saddr 10.9.9.9 snat to 10.9.9.8
  }
  chain forward {
    type filter hook forward priority 0
    ip daddr 10.9.9.9 meta l4proto tcp reject with tcp reset
  }
  chain marks {
    type filter hook prerouting priority -150
    ct mark set ct mark & 0xfffff000 | 0x111
  }
}`

function probeScript(
  ip: string | undefined,
  nft: string | undefined,
  iptables: string | undefined,
): string {
  const check = (part: string, command: string): string =>
    `said=$({ ${command}\n} 2>&1) || echo "lacks ${part} $(echo "$said" | head -n 1)"`
  const lines = ['echo tree ok']
  lines.push(check('forwarding', 'echo 1 > /proc/sys/net/ipv4/ip_forward'))
  lines.push(check('tmpfs', 'mount -t tmpfs weft /run'))
  if (ip !== undefined) {
    lines.push(check('veth', `${ip} link add weft0 type veth peer name weft1`))
  }
  if (nft !== undefined) {
    lines.push(check('nf_tables', `${nft} -f - <<'END'\n${probeRules}\nEND`))
  } else if (iptables !== undefined) {
    lines.push(
      check('nf_nat', `${iptables} -w -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 1`),
    )
  }
  return `${lines.join('\n')}\n`
}

function runProbe(
  command: readonly string[],
  script: string,
): Promise<{ output: string; error: string }> {
  return new Promise((resolve) => {
    const [program = '', ...args] = command
    const signal = AbortSignal.timeout(20_000)
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], signal })
    let output = ''
    let error = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (error += chunk))
    child.stdin.on('error', () => {})
    child.once('error', (cause) => resolve({ output, error: cause.message }))
    child.once('close', () => resolve({ output, error }))
    child.stdin.end(script)
  })
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function namespaceProblem(
  mode: 'root' | 'rootless',
  said: string,
  read: (path: string) => string | undefined,
): Problem {
  const value = (name: string): string | undefined => read(`/proc/sys/${name}`)?.trim()
  const what = 'namespaces'
  if (value('user/max_user_namespaces') === '0') {
    return {
      what,
      message: 'user namespaces are switched off (user.max_user_namespaces is 0)',
      fix: 'sudo sysctl -w user.max_user_namespaces=28633   (to keep it: a file in /etc/sysctl.d)',
    }
  }
  if (value('kernel/unprivileged_userns_clone') === '0') {
    return {
      what,
      message: 'only root may make user namespaces here (kernel.unprivileged_userns_clone is 0)',
      fix: 'sudo sysctl -w kernel.unprivileged_userns_clone=1   or start the mesh with sudo',
    }
  }
  if (mode === 'rootless' && value('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return {
      what,
      message:
        'AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)',
      fix: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0   or start the mesh with sudo',
    }
  }
  const detail = said.trim().split('\n')[0] ?? ''
  if (/mount/.test(detail)) {
    return {
      what,
      message: `a private /proc can't be mounted (${detail}): this container hides parts of /proc`,
      fix: 'Docker: --security-opt systempaths=unconfined; Podman: --security-opt unmask=ALL; or --privileged',
    }
  }
  const where = mode === 'root' ? 'namespaces' : 'user namespaces'
  return {
    what,
    message: `${where} can't be made here (${detail === '' ? 'no reason was given' : detail})`,
    fix:
      mode === 'root'
        ? 'In a container: add --privileged (or CAP_SYS_ADMIN), or try --rootless.'
        : 'In a container: add --security-opt seccomp=unconfined, or --privileged; or start the mesh as root.',
  }
}

function kernelProblem(part: string, said: string): Problem {
  const modules: Record<string, string> = {
    veth: 'veth',
    nf_tables: 'nf_tables nft_chain_nat nft_nat nft_ct nft_numgen nft_reject_ipv4',
    nf_nat: 'iptable_nat xt_REDIRECT',
  }
  const wanted = modules[part]
  return {
    what: `kernel ${part}`,
    message: `the kernel does not do "${part}" for us${said === '' ? '' : ` (${said})`}`,
    fix:
      wanted === undefined
        ? 'This sandbox forbids it; run on the machine itself or in a --privileged container.'
        : `sudo modprobe -a ${wanted}   (or a kernel that has them built in)`,
  }
}
