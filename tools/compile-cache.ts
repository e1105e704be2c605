/**
 * Compiles Weft's programs into Node's compile cache, so that no start has to strip and compile hundreds of files
 * (200 ms and 25 MB for each process). Pods see the result in `.cache/programs` read-only; broker, init and the
 * command line have one that they may write. The launcher runs this before `up` when a source is newer.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const target = join(root, '.cache/programs')
const staging = `${target}.${process.pid}.tmp`

/** These do nothing when they are imported. */
const inPods = ['src/controlplane/main.ts', 'src/nodeproxy/main.ts', 'src/l7proxy/main.ts']
/** The broker ends at once, because nobody has started it; so it is the last. */
const onHost = ['src/cli/index.ts', 'src/standalone/init/main.ts', 'src/standalone/broker/main.ts']
/** These refuse the port -1, and by then have been compiled. */
const samples = [
  ...['productpage', 'details', 'ratings', 'reviews'].map(
    (name) => `samples/bookinfo/src/${name}.ts`,
  ),
  ...['echo', 'httpbin', 'tcp-echo'].map((name) => `samples/${name}/src/main.ts`),
]

function node(arguments_: readonly string[], environment: Readonly<Record<string, string>>): void {
  spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...arguments_], {
    env: { PATH: '/usr/bin:/bin', ...environment },
    stdio: 'ignore',
  })
}

function importing(files: readonly string[]): string[] {
  const list = JSON.stringify(files.map((file) => join(root, file)))
  const script = `for (const file of ${list}) await import(file)\nprocess.exit()`
  return ['--input-type=module', '--eval', script]
}

function compileForPods(): void {
  mkdirSync(staging, { recursive: true })
  // Node finds what is unchanged, and compiles only the rest.
  for (const entry of existsSync(target) ? readdirSync(target, { withFileTypes: true }) : []) {
    if (!entry.isDirectory()) continue
    const own = join(staging, `${entry.name}-${process.getuid?.()}`)
    cpSync(join(target, entry.name), own, { recursive: true })
  }
  // Portable: keys are paths relative to the cache, the same on the machine and in a container.
  const environment = { NODE_COMPILE_CACHE: staging, NODE_COMPILE_CACHE_PORTABLE: '1' }
  node(importing(inPods), environment)
  for (const file of samples) node([join(root, file), '-1'], environment)
  for (const folder of readdirSync(staging)) {
    // Node writes them for its own user only; pods run as another one.
    for (const file of readdirSync(join(staging, folder))) {
      chmodSync(join(staging, folder, file), 0o644)
    }
    // The name ends with the user id, which is another one in a container.
    renameSync(join(staging, folder), join(staging, folder.replace(/-\d+$/, '')))
  }
  writeFileSync(join(staging, '.stamp'), '')
  rmSync(target, { recursive: true, force: true })
  renameSync(staging, target)
}

const { NODE_COMPILE_CACHE: ownCache } = process.env
if (ownCache !== undefined) node(importing(onHost), { NODE_COMPILE_CACHE: ownCache })
try {
  compileForPods()
} finally {
  // Another start was faster: then its result is there.
  rmSync(staging, { recursive: true, force: true })
}
