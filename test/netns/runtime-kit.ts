/**
 * A node in one process: registry, controllers, pod networks and the runtime, inside a namespace tree
 * which the caller (`runtime.test.ts`) has made. Pods are real processes.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createLogger, silentLogger, systemClock } from '../../src/base/index.ts'
import { createKubeClient, type KubeClient } from '../../src/client/index.ts'
import { createControllers } from '../../src/controllers/index.ts'
import { type KubeObject, resources } from '../../src/kube/index.ts'
import { createRegistry, type PodReference } from '../../src/registry/index.ts'
import { ImageCatalogue } from '../../src/standalone/images/index.ts'
import { setUpMounts } from '../../src/standalone/init/mounts.ts'
import { setUpNode } from '../../src/standalone/network/node.ts'
import { PodNetworks } from '../../src/standalone/network/pods.ts'
import {
  type BuiltinRunners,
  createRuntime,
  type PodRuntime,
  type RuntimeOptions,
} from '../../src/standalone/runtime/index.ts'
import type { Pod, PodSpec } from '../../src/standalone/runtime/types.ts'

const programRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

interface TestNode {
  readonly client: KubeClient
  readonly runtime: PodRuntime
  readonly stateDir: string
  readonly root: boolean
  /** Ends the runtime as `down` does (or `kill -9` when hard), and starts a new one on the same state. */
  restart(): Promise<void>
  stop(): Promise<void>
}

async function startNode(
  extra: Partial<RuntimeOptions> = {},
  builtins: BuiltinRunners = {},
): Promise<TestNode> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-runtime-'))
  const scratch = join(folder, 'scratch')
  mkdirSync(scratch)
  setUpMounts(scratch)
  await setUpNode()
  const clock = systemClock
  const logger =
    process.env.WEFT_TEST_LOG === undefined
      ? silentLogger
      : createLogger('test', {
          write: (line) => process.stderr.write(line),
          now: Date.now,
          level: 'debug',
        })
  const registry = createRegistry({ dir: folder, name: 'test', clock, logger, version: '0.0.0' })
  await registry.start()
  const server = createServer()
  registry.attach(server)
  await new Promise<void>((resolve) => server.listen(6443, '127.0.0.1', resolve))
  const client = createKubeClient({
    server: 'https://127.0.0.1:6443',
    caPem: () => registry.caCertificatePem,
    certificate: () => registry.adminCredentials,
    clock,
  })
  const controllers = createControllers({ client, clock, logger, caPem: registry.caCertificatePem })
  await controllers.start()
  const network = new PodNetworks({
    netnsFolder: '/run/weft/netns',
    stateFile: join(folder, 'addresses'),
    clock,
    logger,
  })
  const root = process.env.WEFT_TEST_ROOT === '1'
  const make = (): PodRuntime =>
    createRuntime({
      client,
      network,
      catalogue: new ImageCatalogue({ programRoot, nodePath: process.execPath }),
      builtins,
      stateDir: folder,
      runDir: '/run/weft',
      nodeName: 'weft',
      clock,
      logger,
      root,
      probeSourceAddress: '169.254.7.127',
      ...extra,
    })
  let runtime = make()
  await runtime.start()
  return {
    client,
    get runtime() {
      return runtime
    },
    stateDir: folder,
    root,
    async restart() {
      await runtime.stop(1_000)
      runtime = make()
      await runtime.start()
    },
    async stop() {
      await runtime.stop(1_000)
      await controllers.stop()
      client.close()
      server.close()
      await registry.stop()
      network.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** One node for all cases, and what they do with pods. */
export class PodBench {
  readonly builtinLog: string[] = []
  #node: TestNode | undefined

  async start(): Promise<void> {
    this.#node = await startNode(
      { allowHostPaths: ['/usr/share'] },
      {
        'node-agent': {
          start: async (subject) => void this.builtinLog.push(`start ${subject.metadata.name}`),
          stop: async (subject) => void this.builtinLog.push(`stop ${subject.metadata.name}`),
        },
      },
    )
  }

  async stop(): Promise<void> {
    await this.#node?.stop()
  }

  async restart(): Promise<void> {
    await this.#there.restart()
  }

  get client(): KubeClient {
    return this.#there.client
  }

  get runtime(): PodRuntime {
    return this.#there.runtime
  }

  get root(): boolean {
    return this.#there.root
  }

  get stateDir(): string {
    return this.#there.stateDir
  }

  get #there(): TestNode {
    if (this.#node === undefined) throw new Error('the node has not started')
    return this.#node
  }

  readonly create = (subject: Pod): Promise<Pod> => this.client.create(resources.pods, subject)

  readonly reference = (subject: Pod): PodReference => ({
    namespace: 'default',
    name: subject.metadata.name,
    uid: subject.metadata.uid ?? '',
  })

  readonly logsOf = async (subject: Pod, previous = false, container = ''): Promise<string> => {
    const options = { container, follow: false, previous, timestamps: false }
    return text(await this.runtime.backend.logs(this.reference(subject), options))
  }

  readonly exec = async (subject: Pod, script: string): Promise<ExecResult> => {
    const session = await this.runtime.backend.exec(this.reference(subject), {
      container: '',
      command: ['sh', '-c', script],
      stdin: false,
      tty: false,
    })
    const [out, err] = await Promise.all([
      text(session.stdout),
      text(session.stderr ?? session.stdout),
    ])
    return { out, err, code: await session.exitCode }
  }

  readonly remove = async (...names: string[]): Promise<void> => {
    for (const name of names) await this.client.delete(resources.pods, 'default', name)
    for (const name of names) {
      await until(`end of ${name}`, async () =>
        (await this.client.get(resources.pods, 'default', name)) === undefined ? true : undefined,
      )
    }
  }
}

export interface ExecResult {
  readonly out: string
  readonly err: string
  readonly code: number
}

export const sleeper = {
  containers: [{ name: 'main', image: 'busybox', command: ['sleep', '1000'] }],
}

export function pod(
  name: string,
  spec: Partial<PodSpec>,
  labels: Record<string, string> = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { containers: [], terminationGracePeriodSeconds: 1, ...spec },
  }
}

/** A container that runs a shell script. */
export function shell(name: string, script: string) {
  return { name, image: 'busybox', command: ['sh', '-c', script] }
}

/** Waits until the answer is not undefined. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 15_000,
): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > end) throw new Error(`timed out: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export function untilPod(
  client: KubeClient,
  name: string,
  wanted: (pod: Pod) => boolean,
  timeoutMs?: number,
): Promise<Pod> {
  let last: Pod | undefined
  return until(
    `pod ${name}`,
    async () => {
      last = await client.get<Pod>(resources.pods, 'default', name)
      return last !== undefined && wanted(last) ? last : undefined
    },
    timeoutMs,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; last status: ${JSON.stringify(last?.status)}`)
  })
}

export function isReady(candidate: Pod): boolean {
  return (
    candidate.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false
  )
}

export async function eventsOf(
  client: KubeClient,
  name: string,
): Promise<{ reason: string; message: string }[]> {
  const list = await client.list<KubeObject>(resources.events, { namespace: 'default' })
  return list.items
    .map(
      (item) =>
        item as unknown as { involvedObject: { name: string }; reason: string; message: string },
    )
    .filter((event) => event.involvedObject.name === name)
}
