/**
 * The shell script that turns a fresh set of namespaces into a container. One `sh`, one `mount -a`:
 * a container starts in about 20 ms, a third of what one `mount` per line takes.
 *
 * Order matters for safety. Programs that run with privileges are always the machine's: nothing a
 * pod brings may be mounted over them (`protectedPaths`), and the script stops if a volume's links
 * led a mount there. Volumes are mounted after pivot_root, when no path can lead out any more.
 */
import { posix } from 'node:path'
import type { MountEntry } from './host-root.ts'

export interface VolumeBinding {
  readonly source: string
  readonly isFile: boolean
  readonly target: string
  readonly readOnly: boolean
  readonly subPath?: string
  /** Mount flags of the source's file system. */
  readonly flags: readonly string[]
}

export interface ScriptPlan {
  /** An empty folder, the same for all containers: each has its own mount namespace. */
  readonly rootMountPoint: string
  readonly bootFolder: string
  readonly hostname: string
  readonly mounts: readonly MountEntry[]
  readonly links: readonly { readonly path: string; readonly to: string }[]
  /** Their content becomes `/etc`; pods may mount files and folders into it. */
  readonly etcFolders: readonly string[]
  readonly volumes: readonly VolumeBinding[]
  readonly workingDir: string
  /** The program and arguments that drop privileges; the init script's path is appended. */
  readonly dropPrivileges: readonly string[]
}

/** Mounting over these would let a pod run its own code with privileges. */
const protectedPaths = [
  '/usr',
  '/usr/local',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/nix',
  '/gnu',
  '/proc',
  '/etc',
  '/.weft',
  '/.vol',
]
/** Below `/usr` and `/etc` only these matter. */
const protectedBelow = [
  /^\/usr\/(local\/)?(s?bin|lib[^/]*)(\/|$)/,
  /^\/(s?bin|lib(32|64|x32)?|nix|gnu|proc|\.weft|\.vol)(\/|$)/,
  /^\/etc\/ld\.so\./,
]
/** The same for the script, as patterns of `case`. */
const guardedPatterns = [
  '/|/usr|/usr/bin|/usr/bin/*|/usr/sbin|/usr/sbin/*|/usr/lib*',
  '/usr/local|/usr/local/*bin*|/usr/local/lib*|/bin|/bin/*|/sbin|/sbin/*',
  '/lib|/lib/*|/lib32*|/lib64*|/libx32*|/nix*|/gnu*|/etc|/etc/ld.so*|/proc*|/.weft*',
].join('|')

/** Why a volume can't be mounted there; undefined when it can. */
export function refusedMountPath(path: string): string | undefined {
  const clean = posix.normalize(path).replace(/(.)\/$/, '$1')
  if (!posix.isAbsolute(clean)) return 'must be absolute'
  if (
    clean === '/' ||
    protectedPaths.includes(clean) ||
    protectedBelow.some((below) => below.test(clean))
  ) {
    return 'is the system’s own; containers of standalone mode share the machine’s programs and libraries'
  }
  return clean === '/dev' ? 'is the system’s own' : undefined
}

/** The two mount tables and the script, by file name. */
export function launchFiles(plan: ScriptPlan): Map<string, string> {
  const { rootMountPoint: root } = plan
  const volumeEntries = plan.volumes.map((volume, index) => ({
    source: volume.source,
    target: `/.vol/${index}`,
    options: ['bind', ...volume.flags],
    isFile: volume.isFile,
  }))
  const base = [...plan.mounts, ...volumeEntries]
  return new Map([
    ['fstab', base.map((entry) => fstabLine({ ...entry, target: root + entry.target })).join('')],
    ['inside/volumes', volumeTable(plan)],
    ['launch.sh', script(plan, base)],
  ])
}

function volumeTable(plan: ScriptPlan): string {
  const entries: MountEntry[] = plan.volumes.map((volume, index) => ({
    source: volume.subPath === undefined ? `/.vol/${index}` : `/.vol/${index}/${volume.subPath}`,
    target: volume.target,
    options: [
      'bind',
      ...(volume.readOnly ? ['ro'] : []),
      ...new Set(['nosuid', 'nodev', ...volume.flags]),
      'X-mount.mkdir',
    ],
  }))
  if (plan.volumes.length > 0)
    entries.push({
      source: 'none',
      target: '/.vol',
      type: 'tmpfs',
      options: ['ro', 'mode=0', 'size=4k'],
    })
  return entries.map(fstabLine).join('')
}

function fstabLine({ source, target, type = 'none', options }: MountEntry): string {
  return `${fstabWord(source)} ${fstabWord(target)} ${type} ${options.join(',')} 0 0\n`
}

function fstabWord(text: string): string {
  return text.replace(/[\\\s#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

function script(plan: ScriptPlan, base: readonly MountEntry[]): string {
  const inRoot = (path: string): string => quote(`.${path}`)
  const folders = [
    '/etc',
    '/proc',
    '/tmp',
    '/run',
    '/var',
    '/.weft',
    '/.vol',
    '/opt',
    '/home',
    '/mnt',
    '/srv',
  ]
  for (const { target, isFile, inside } of base) {
    if (inside !== true) folders.push(isFile === true ? posix.dirname(target) : target)
  }
  const files = base.filter((entry) => entry.isFile === true)
  return [
    'set -eu',
    'PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin; export PATH',
    // Complaints of this part go to the runtime, not into the container's log.
    'exec 5>&2 2>&3',
    `name=${quote(plan.hostname)}`,
    'hostname "$name" 2>/dev/null || echo "$name" 2>/dev/null >/proc/sys/kernel/hostname || :',
    `mount -t tmpfs -o mode=0755,nosuid,nodev,size=2m weft ${quote(plan.rootMountPoint)}`,
    `cd ${quote(plan.rootMountPoint)}`,
    `mkdir -p -- ${[...new Set(folders)].map(inRoot).join(' ')}`,
    ...files.map(({ target }) => `: >${inRoot(target)}`),
    `cp -R -- ${plan.etcFolders.map((folder) => quote(`${folder}/.`)).join(' ')} ./etc`,
    ...plan.links.map(({ path, to }) => `ln -s ${quote(to)} ${inRoot(path)}`),
    `mount -a -T ${quote(`${plan.bootFolder}/fstab`)}`,
    'pivot_root . .',
    'umount -l .',
    'cd /',
    ...insidePart(plan),
    'exec 2>&5 5>&-',
    `exec ${plan.dropPrivileges.map(quote).join(' ')} /bin/sh /.weft/init.sh`,
    '',
  ].join('\n')
}

/** From here on every path is the container's. */
function insidePart(plan: ScriptPlan): string[] {
  const lines = [
    'mkdir -p -m 1777 /tmp /var/tmp /var/log /var/lib /var/cache /run/lock',
    'ln -sfn /run /var/run',
    `mkdir -p -- ${quote(plan.workingDir)}`,
  ]
  for (const [index, volume] of plan.volumes.entries()) {
    const source = `/.vol/${index}${volume.subPath === undefined ? '' : `/${volume.subPath}`}`
    if (volume.subPath !== undefined && !volume.isFile) {
      lines.push(`[ -e ${quote(source)} ] || mkdir -p -m 0777 -- ${quote(source)}`)
    }
    const place = quote(volume.target)
    lines.push(
      `if [ -d ${quote(source)} ]; then mkdir -p -- ${place}`,
      `else mkdir -p -- ${quote(posix.dirname(volume.target))}; [ -e ${place} ] || : >${place}; fi`,
    )
  }
  lines.push('mount -o remount,bind,ro,nosuid,nodev /')
  if (plan.volumes.length === 0) return lines
  return [
    ...lines,
    // The mounts that privileged programs depend on, before and after. Both lists are opened now: a
    // link could lead a mount over /proc as well.
    'exec 6</proc/self/mountinfo 7</proc/self/mountinfo',
    'guarded() { while read -r _ _ _ _ point _; do case $point in',
    ` ${guardedPatterns}) echo "$point";;`,
    ' esac; done; }',
    'before=$(guarded <&6)',
    'mount -a -T /.weft/volumes',
    'if [ "$before" != "$(guarded <&7)" ]; then',
    '  echo "a volume was mounted over the system’s own files" >&2; exit 1; fi',
    'exec 6<&- 7<&-',
  ]
}

/** As one word of `sh`. */
export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
