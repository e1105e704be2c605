/**
 * The tools that write rules. Where the system has none, Debian's and Ubuntu's packages of them are
 * unpacked into a folder of ours: no root, and nothing of the system is changed.
 */
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { MeshError, toError } from '../../base/index.ts'
import { findTool } from '../../linux/index.ts'

/** Packages whose tools we use, by the program that shows whether they are there. */
const packageOf: Readonly<Record<string, string>> = { nft: 'nftables', ip: 'iproute2' }

const installCommands: Readonly<Record<string, string>> = {
  debian: 'sudo apt-get install',
  fedora: 'sudo dnf install',
  rhel: 'sudo dnf install',
  suse: 'sudo zypper install',
  arch: 'sudo pacman -S',
  alpine: 'sudo apk add',
}

/** How to install a package on this distribution. */
export function installHint(packageName: string, osRelease = readOsRelease()): string {
  const ids = [...osRelease.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)]
    .flatMap((match) => (match[1] ?? '').replaceAll('"', '').split(/\s+/))
    .map((id) => (id === 'ubuntu' ? 'debian' : id.startsWith('opensuse') ? 'suse' : id))
  const name =
    packageName === 'iproute2' && ids.some((id) => id === 'fedora' || id === 'rhel')
      ? 'iproute'
      : packageName
  const command = ids.map((id) => installCommands[id]).find((text) => text !== undefined)
  return command === undefined
    ? `Install your distribution's package of ${name}.`
    : `${command} ${name}`
}

function readOsRelease(): string {
  try {
    return readFileSync('/etc/os-release', 'utf8')
  } catch {
    return ''
  }
}

export interface NetToolsOptions {
  /** Where fetched tools are kept, first choice first; the first writable one is used. */
  readonly caches: readonly string[]
  readonly onProgress?: (what: string) => void
  readonly find?: (name: string, folders: readonly string[]) => string | undefined
}

/**
 * Makes sure that `ip` and (`nft` or `iptables`) are there, fetching them if need be.
 * @returns folders to search before the PATH; empty when the system has everything
 */
export async function ensureNetTools(options: NetToolsOptions): Promise<string[]> {
  const find = options.find ?? ((name, folders) => findTool(name, folders))
  const missing = missingTools((name) => find(name, []))
  if (missing.length === 0) return []
  for (const cache of options.caches) {
    const folders = toolFolders(cache)
    if (missingTools((name) => find(name, folders)).length === 0) return folders
  }
  const packages = missing.map((name) => packageOf[name] ?? name)
  const cache = options.caches.find(isWritable)
  if (find('apt-get', []) === undefined || find('dpkg', []) === undefined || cache === undefined) {
    throw new MeshError('NETWORK_TOOLS', `this machine has no ${missing.join(' and no ')}`, {
      hint: packages.map((name) => installHint(name)).join('   and   '),
    })
  }
  options.onProgress?.(`fetching ${missing.join(' and ')}`)
  try {
    await fetchPackages(packages, cache)
  } catch (error) {
    throw new MeshError(
      'NETWORK_TOOLS_FETCH',
      `${missing.join(' and ')} could not be fetched: ${toError(error).message}`,
      { cause: error, hint: packages.map((name) => installHint(name)).join('   and   ') },
    )
  }
  return toolFolders(cache)
}

function missingTools(find: (name: string) => string | undefined): string[] {
  const missing: string[] = []
  if (find('nft') === undefined && find('iptables') === undefined) missing.push('nft')
  if (find('ip') === undefined) missing.push('ip')
  return missing
}

function toolFolders(cache: string): string[] {
  return ['usr/sbin', 'sbin', 'usr/bin', 'bin'].map((folder) => join(cache, folder))
}

function isWritable(folder: string): boolean {
  try {
    mkdirSync(dirname(folder), { recursive: true })
    accessSync(dirname(folder), constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Downloads with apt, all of whose own state is put into a folder that is removed afterwards. */
async function fetchPackages(packages: readonly string[], cache: string): Promise<void> {
  const work = `${cache}.new`
  rmSync(work, { recursive: true, force: true })
  const [lists, archives, downloads, root] = ['lists', 'archives', 'downloads', 'root'].map(
    (name) => join(work, name),
  ) as [string, string, string, string]
  for (const folder of [join(lists, 'partial'), join(archives, 'partial'), downloads, root]) {
    mkdirSync(folder, { recursive: true })
  }
  const options = [
    `Dir::State=${work}`,
    `Dir::State::lists=${lists}`,
    'Dir::State::status=/var/lib/dpkg/status',
    `Dir::Cache=${work}`,
    `Dir::Cache::archives=${archives}`,
    `Dir::Log=${work}`,
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Debug::NoLocking=true',
  ].flatMap((option) => ['-o', option])
  try {
    await run('apt-get', [...options, '-qq', 'update'], work)
    const wanted = await closure(packages, options, work)
    await run('apt-get', [...options, '-qq', 'download', ...wanted], downloads)
    for (const file of readdirSync(downloads).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', join(downloads, file), root], work)
    }
    rmSync(cache, { recursive: true, force: true })
    renameSync(root, cache)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The packages and the libraries they need, without those that every system has (libc ...). */
async function closure(
  packages: readonly string[],
  options: readonly string[],
  folder: string,
): Promise<string[]> {
  const without = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances']
  const output = await run(
    'apt-cache',
    [...options, 'depends', '--recurse', ...without.map((what) => `--no-${what}`), ...packages],
    folder,
  )
  const names = output.split('\n').filter((line) => /^[a-z0-9][a-z0-9.+-]*$/.test(line))
  const libraries = names.filter(
    (name) => name.startsWith('lib') && !/^lib(c6|gcc|crypt|debconf|perl)/.test(name),
  )
  return [...new Set([...packages, ...libraries])]
}

function run(program: string, args: readonly string[], folder: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
      signal: AbortSignal.timeout(180_000),
    })
    let output = ''
    let complaint = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (complaint += chunk))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(output)
      else
        reject(new Error(`${program} ended with ${code}: ${complaint.trim().split('\n').at(-1)}`))
    })
  })
}
