/**
 * The images that work without any configuration: the sample applications, generic shells and
 * Weft's own programs. Keys are repositories without registry and tag.
 */
import { readdirSync } from 'node:fs'
import { envoyMounts } from './envoy.ts'
import { frugal } from './frugal.ts'
import type { ImageMount, ImageProgram } from './types.ts'

/** Where containers see our files. Fixed, so that a pod's command line never names the checkout. */
export const containerRoot = '/opt/weft'

export interface ProgramFiles {
  /** The checkout (or unpacked release) that holds `src/`, `samples/`, `package.json`. */
  readonly programRoot: string
  /** The Node binary. */
  readonly nodePath: string
}

const nodePath = `${containerRoot}/bin/node`
const warningFlags = ['--disable-warning=ExperimentalWarning']

/** Mounted into every container: `node` is a program that mapped images may name. */
export function commonMounts(files: ProgramFiles): ImageMount[] {
  return [{ host: files.nodePath, path: nodePath }]
}

/** What `tools/compile-cache.ts` has made for this version of Node; undefined when it has not. */
function compileCache(files: ProgramFiles): ImageMount | undefined {
  const folder = `${files.programRoot}/.cache/programs`
  try {
    const name = readdirSync(folder).find((entry) => entry.startsWith(`${process.version}-`))
    if (name === undefined) return undefined
    return { host: `${folder}/${name}`, path: `${containerRoot}/.cache/programs/${name}` }
  } catch {
    return undefined
  }
}

function node(script: string, flags: readonly string[] = []): string[] {
  return [nodePath, ...warningFlags, ...flags, `${containerRoot}/${script}`]
}

/** All built-in programs by repository. */
export function builtinImages(files: ProgramFiles): Map<string, ImageProgram> {
  const images = new Map<string, ImageProgram>()
  const cache = compileCache(files)
  const add = (repositories: readonly string[], program: Omit<ImageProgram, 'name'>): void => {
    const cached = cache !== undefined && program.command[0] === nodePath
    for (const name of repositories) {
      images.set(name, { name, ...program, ...(cached ? { compileCache: cache } : {}) })
    }
  }
  const share = (...paths: string[]): ImageMount[] =>
    ['package.json', ...paths].map((path) => ({
      host: `${files.programRoot}/${path}`,
      path: `${containerRoot}/${path}`,
    }))

  addBookinfo(add, share('samples'))
  const samples = share('samples')
  add(['mccutchen/go-httpbin'], {
    command: node('samples/httpbin/src/main.ts'),
    args: ['8080'],
    mounts: samples,
  })
  add(['kong/httpbin', 'kennethreitz/httpbin'], {
    command: node('samples/httpbin/src/main.ts'),
    args: ['80'],
    mounts: samples,
  })
  add(['istio/tcp-echo-server'], {
    command: node('samples/tcp-echo/src/main.ts'),
    args: ['9000', 'hello'],
    mounts: samples,
  })
  add(['weft/echo', 'ealen/echo-server', 'hashicorp/http-echo'], {
    command: node('samples/echo/src/main.ts'),
    mounts: samples,
  })
  addTools(add)
  addMesh(add, share('src', 'node_modules', 'proto'), files)
  return images
}

type Add = (repositories: readonly string[], program: Omit<ImageProgram, 'name'>) => void

function addBookinfo(add: Add, mounts: ImageMount[]): void {
  for (const service of ['productpage', 'details', 'ratings']) {
    add([`istio/examples-bookinfo-${service}-v1`], {
      command: node(`samples/bookinfo/src/${service}.ts`),
      args: ['9080'],
      mounts,
    })
  }
  for (const [version, withRatings, color] of [
    ['v1', 'false', 'black'],
    ['v2', 'true', 'black'],
    ['v3', 'true', 'red'],
  ] as const) {
    add([`istio/examples-bookinfo-reviews-${version}`], {
      command: node('samples/bookinfo/src/reviews.ts'),
      args: ['9080'],
      env: { REVIEWS_VERSION: version, ENABLE_RATINGS: withRatings, STAR_COLOR: color },
      mounts,
    })
  }
}

/** These run the machine's own tools; what it lacks, they lack. */
function addTools(add: Add): void {
  add(['curlimages/curl', 'governmentpaas/curl-ssl'], {
    // An entry point that runs its arguments, as the original's does.
    command: ['/bin/sh', '-c', 'exec "$@"', 'entrypoint'],
    args: ['curl', '--help'],
  })
  add(['weft/sleep', 'tianon/sleeping-beauty'], { command: ['sleep', 'infinity'] })
  add(['busybox', 'alpine', 'debian', 'ubuntu', 'bash'], { command: [], args: ['/bin/sh'] })
}

function addMesh(add: Add, mounts: ImageMount[], files: ProgramFiles): void {
  const names = (name: string): string[] =>
    ['istio', 'weft', 'istio-release', 'istio-testing'].map((owner) => `${owner}/${name}`)
  const nothing = { capabilities: [], runDir: false }
  const program = (script: string): Pick<ImageProgram, 'command' | 'env' | 'mounts'> => ({
    command: node(script, frugal.flags),
    env: frugal.env,
    mounts,
  })
  add(names('pilot'), { ...program('src/controlplane/main.ts'), mesh: nothing })
  add(names('ztunnel'), {
    ...program('src/nodeproxy/main.ts'),
    // setns into pods, listeners and marked sockets in there.
    mesh: { capabilities: ['NET_ADMIN', 'NET_RAW', 'SYS_ADMIN'], runDir: true },
  })
  add(names('proxyv2'), {
    ...program('src/l7proxy/main.ts'),
    mesh: nothing,
    findMounts: () => envoyMounts(files.programRoot, process.env.PATH ?? ''),
  })
  add(names('install-cni'), { command: [], builtin: 'node-agent', mesh: nothing })
}
