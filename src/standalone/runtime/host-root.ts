/**
 * The read-only part of every container's file system, taken from the machine: its programs and
 * libraries, and a small `/etc` of our own (names, certificates, linker cache) without the machine's secrets.
 */
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** One line of an fstab-like list. */
export interface MountEntry {
  /** A path, or a file system type's dummy name. */
  readonly source: string
  /** Absolute, inside the container. */
  readonly target: string
  readonly type?: string
  readonly options: readonly string[]
  readonly isFile?: boolean
  /** The target is there once the entries before are mounted. */
  readonly inside?: boolean
}

export interface HostRoot {
  readonly mounts: readonly MountEntry[]
  /** Links at the top: `bin -> usr/bin`. */
  readonly links: readonly { readonly path: string; readonly to: string }[]
}

const systemFolders = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'usr', 'nix', 'gnu']

/** Copied once; all of them are readable by everyone anyway. */
const etcFiles = [
  'ld.so.cache',
  'ld.so.conf',
  'localtime',
  'mime.types',
  'os-release',
  'protocols',
  'services',
  'ca-certificates.conf',
  'ssl/openssl.cnf',
  'bash.bashrc',
  'profile',
]

/** Mounted: certificates and the links behind `awk`, `nc`, `editor`. */
const etcFolders = [
  'alternatives',
  'ssl/certs',
  'ca-certificates',
  'pki/tls/certs',
  'pki/ca-trust/extracted',
  'crypto-policies',
  'ld.so.conf.d',
  'terminfo',
]

const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty']

/** @param etcFolder where the small `/etc` is put together */
export function prepareHostRoot(etcFolder: string): HostRoot {
  const mounts: MountEntry[] = []
  const links: { path: string; to: string }[] = []
  for (const name of systemFolders) {
    const path = `/${name}`
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) continue
    if (found.isSymbolicLink()) links.push({ path, to: readlinkSync(path) })
    else mounts.push({ source: path, target: path, options: ['rbind', 'ro', ...lockedFlags(path)] })
  }
  mounts.push(...etcMounts(etcFolder))
  for (const name of devices) {
    const path = `/dev/${name}`
    if (existsSync(path))
      mounts.push({ source: path, target: path, options: ['bind'], isFile: true })
  }
  return { mounts, links }
}

function etcMounts(etcFolder: string): MountEntry[] {
  mkdirSync(etcFolder, { recursive: true, mode: 0o755 })
  for (const name of etcFiles) {
    const source = join('/etc', name)
    if (!existsSync(source)) continue
    mkdirSync(dirname(join(etcFolder, name)), { recursive: true })
    copyFileSync(source, join(etcFolder, name))
  }
  writeFileSync(join(etcFolder, 'passwd'), passwd)
  writeFileSync(join(etcFolder, 'group'), 'root:x:0:\nnogroup:x:65534:\n')
  writeFileSync(join(etcFolder, 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n')
  const folders = etcFolders.filter((name) => existsSync(join('/etc', name)))
  for (const name of folders) mkdirSync(join(etcFolder, name), { recursive: true })
  return folders.map((name) => ({
    source: join('/etc', name),
    target: join('/etc', name),
    options: ['rbind', 'ro', ...lockedFlags(join('/etc', name))],
  }))
}

const passwd = [
  'root:x:0:0:root:/tmp:/bin/sh',
  'nobody:x:65534:65534:nobody:/tmp:/bin/sh',
  '',
].join('\n')

/**
 * Mount flags which a bind mount of this path must keep: in a user namespace the kernel refuses a
 * remount that would drop them.
 */
export function lockedFlags(path: string, mountInfo = readMountInfo()): string[] {
  let best: { point: string; options: string } = { point: '', options: '' }
  for (const line of mountInfo.split('\n')) {
    const [, , , , point, options] = line.split(' ')
    if (point === undefined || options === undefined) continue
    const clean = point.replace(/\\(\d{3})/g, (_all, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    )
    const covers = clean === '/' || path === clean || path.startsWith(`${clean}/`)
    if (covers && clean.length >= best.point.length) best = { point: clean, options }
  }
  return best.options.split(',').filter((flag) => ['nosuid', 'nodev', 'noexec'].includes(flag))
}

function readMountInfo(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8')
}
