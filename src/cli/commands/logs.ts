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
import type { ClosableKubeClient } from '../../client/index.ts'
import { type KubeObject, resources } from '../../kube/index.ts'
import { meshStatus, stateHome } from '../../standalone/index.ts'
import { addNameOption, type CommandContext, pathsOf, registryClient } from '../context.ts'
import { noMesh, notRunning } from './kubeconfig.ts'

/** Parts that are pods, by the label `app`. */
const components: Record<string, string> = {
  istiod: 'app=istiod',
  ztunnel: 'app=ztunnel',
  'istio-cni': 'k8s-app=istio-cni-node',
  'istio-cni-node': 'k8s-app=istio-cni-node',
}

interface LogsOptions {
  name: string
  namespace: string
  follow?: boolean
  previous?: boolean
  tail?: number
  container?: string
}

export function addLogs(program: Command, context: CommandContext): void {
  const command = program
    .command('logs')
    .description('print the log of a part of the mesh or of a pod')
    .argument(
      '<part>',
      "istiod, ztunnel, istio-cni, broker, init, or the beginning of a pod's name",
    )
  addNameOption(command, context)
    .option('-n, --namespace <namespace>', 'namespace of a pod', 'default')
    .option('-c, --container <container>', 'container of a pod')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('-p, --previous', 'of the run before the last restart')
    .option('--tail <lines>', 'only the last lines', parseCount)
    .addHelpText(
      'after',
      '\nExamples:\n  weft logs ztunnel -f\n  weft logs -n bookinfo productpage --tail 20\n  weft logs init --tail 50            the node itself: registry, runtime, node agent',
    )
    .action(async (part: string, options: LogsOptions) => {
      const paths = pathsOf(context, options.name)
      if (!existsSync(paths.root)) throw noMesh(context, options.name)
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
  const status = await meshStatus(options.name, stateHome(context.environment))
  if (status === undefined || status.state === 'stopped') throw notRunning(options.name)
  const client = registryClient(context, options.name)
  try {
    const { namespace, name } = await findPod(client, part, options.namespace)
    const query = new URLSearchParams()
    if (options.container !== undefined) query.set('container', options.container)
    if (options.follow === true) query.set('follow', 'true')
    if (options.previous === true) query.set('previous', 'true')
    if (options.tail !== undefined) query.set('tailLines', String(options.tail))
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/log?${query}`
    await client.stream(path, (chunk) => context.terminal.out(chunk))
  } finally {
    client.close()
  }
}

/** A part of the mesh, a pod, or the only pod whose name begins so. */
async function findPod(
  client: ClosableKubeClient,
  part: string,
  namespace: string,
): Promise<{ namespace: string; name: string }> {
  const selector = components[part]
  if (selector !== undefined) {
    const all = { namespace: 'istio-system', labelSelector: selector }
    const [found] = (await client.list<KubeObject>(resources.pods, all)).items
    if (found === undefined) throw new MeshError('CLI_NO_POD', `no pod ${selector} in istio-system`)
    return { namespace: 'istio-system', name: found.metadata.name }
  }
  const names = (await client.list<KubeObject>(resources.pods, { namespace })).items.map(
    ({ metadata }) => metadata.name,
  )
  const matching = names.filter((name) => name.startsWith(part))
  const [only] = names.includes(part) ? [part] : matching
  if (only !== undefined && (only === part || matching.length === 1))
    return { namespace, name: only }
  throw noPod(part, namespace, { names, matching })
}

function noPod(
  part: string,
  namespace: string,
  { names, matching }: { names: readonly string[]; matching: readonly string[] },
): MeshError {
  if (matching.length > 1) {
    return new MeshError('CLI_NO_POD', `"${part}" fits several pods: ${matching.join(', ')}`)
  }
  const hint =
    names.length === 0
      ? 'Name the namespace with -n, or a part of the mesh: istiod, ztunnel, istio-cni, broker, init.'
      : `Pods there: ${names.join(', ')}. Another namespace: -n NAME.`
  return new MeshError('CLI_NO_POD', `there is no pod "${part}" in the namespace ${namespace}`, {
    hint,
  })
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
