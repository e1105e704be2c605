/** `weft logs`: of the mesh's own parts by name, or of any pod. */
import {
  createReadStream,
  existsSync,
  readFileSync,
  statSync,
  unwatchFile,
  watchFile,
} from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { MeshError } from '../../base/index.ts'
import { type KubeObject, resources } from '../../kube/index.ts'
import { type CommandContext, pathsOf, registryClient } from '../context.ts'
import { noMesh } from './kubeconfig.ts'

/** Parts that are pods, by the label `app`. */
const components: Record<string, string> = {
  istiod: 'app=istiod',
  ztunnel: 'app=ztunnel',
  'istio-cni': 'k8s-app=istio-cni-node',
}

interface LogsOptions {
  name: string
  namespace: string
  follow?: boolean
  tail?: number
  container?: string
}

export function addLogs(program: Command, context: CommandContext): void {
  program
    .command('logs')
    .description('print the log of a part of the mesh (istiod, ztunnel, broker, init) or of a pod')
    .argument('<part>', 'istiod | ztunnel | broker | init | POD')
    .option('--name <mesh>', 'name of the mesh', 'default')
    .option('-n, --namespace <namespace>', 'namespace of a pod', 'default')
    .option('-c, --container <container>', 'container of a pod')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'only the last lines', parseCount)
    .addHelpText(
      'after',
      '\nExamples:\n  weft logs ztunnel -f\n  weft logs -n bookinfo productpage-v1-abc',
    )
    .action(async (part: string, options: LogsOptions) => {
      const paths = pathsOf(context, options.name)
      if (!existsSync(paths.root)) throw noMesh(options.name)
      if (part === 'broker') return printFile(context, paths.brokerLog, options)
      if (part === 'init') return printFile(context, paths.initLog, options)
      await printPod(context, part, options)
    })
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('a whole number is wanted')
  return Number(text)
}

async function printPod(
  context: CommandContext,
  part: string,
  options: LogsOptions,
): Promise<void> {
  const client = registryClient(context, options.name)
  try {
    const selector = components[part]
    const namespace = selector === undefined ? options.namespace : 'istio-system'
    let pod = part
    if (selector !== undefined) {
      const list = await client.list<KubeObject>(resources.pods, {
        namespace,
        labelSelector: selector,
      })
      const found = list.items[0]
      if (found === undefined)
        throw new MeshError('CLI_NO_POD', `no pod ${selector} in ${namespace}`)
      pod = found.metadata.name
    }
    const query = new URLSearchParams()
    if (options.container !== undefined) query.set('container', options.container)
    if (options.follow === true) query.set('follow', 'true')
    if (options.tail !== undefined) query.set('tailLines', String(options.tail))
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`
    await client.stream(path, (chunk) => context.terminal.out(chunk.toString()))
  } finally {
    client.close()
  }
}

async function printFile(
  context: CommandContext,
  path: string,
  options: LogsOptions,
): Promise<void> {
  if (!existsSync(path)) throw new MeshError('CLI_NO_LOG', `${path} is not there yet`)
  const text = readFileSync(path, 'utf8')
  const lines = text.split('\n')
  const wanted = options.tail === undefined ? lines : lines.slice(-options.tail - 1)
  context.terminal.out(wanted.join('\n'))
  if (options.follow !== true) return
  let position = Buffer.byteLength(text)
  await new Promise<void>((resolve) => {
    watchFile(path, { interval: 200 }, () => {
      const { size } = statSync(path)
      if (size < position) position = 0
      const stream = createReadStream(path, { start: position, end: Math.max(position, size - 1) })
      stream.on('data', (chunk) => {
        position += chunk.length
        context.terminal.out(chunk.toString())
      })
    })
    process.once('SIGINT', () => {
      unwatchFile(path)
      resolve()
    })
  })
}
