/** `weft status`: what runs, where it listens, and how its pods are. */
import { type Command, Option } from 'commander'
import { type KubeObject, resources } from '../../kube/index.ts'
import { type MeshStatus, meshStatus, stateHome } from '../../standalone/index.ts'
import { addNameOption, type CommandContext, registryClient } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { formatAge, formatError, formatStructured, formatTable } from '../output.ts'
import { noMesh } from './kubeconfig.ts'

type Pod = KubeObject<
  unknown,
  {
    phase?: string
    containerStatuses?: {
      ready: boolean
      restartCount: number
      state?: { waiting?: { reason?: string }; terminated?: { reason?: string } }
    }[]
  }
>

export function addStatus(program: Command, context: CommandContext): void {
  const command = program
    .command('status')
    .description(
      `show the mesh and its parts; exit code ${exitCodes.notRunning} when it does not run`,
    )
  addNameOption(command, context)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['json', 'yaml']))
    .action(async ({ name, output }: { name: string; output?: 'json' | 'yaml' }) => {
      const status = await meshStatus(name, stateHome(context.environment))
      if (status === undefined) {
        context.setExitCode(exitCodes.notRunning)
        context.terminal.err(formatError(noMesh(context, name)))
        return
      }
      const running = status.state !== 'stopped'
      if (!running) context.setExitCode(exitCodes.notRunning)
      const pods = running ? await listPods(context, name) : []
      const summary = { ...status, pods: pods.map(podSummary) }
      if (output !== undefined) return context.terminal.out(formatStructured(summary, output))
      context.terminal.out(describe(context, status))
      if (pods.length === 0) return
      const rows = pods
        .map(podSummary)
        .map((pod) => [
          pod.namespace,
          pod.name,
          pod.ready,
          pod.status,
          String(pod.restarts),
          pod.mesh,
          formatAge(context.clock.now() - Date.parse(pod.created)),
        ])
      const header = ['NAMESPACE', 'NAME', 'READY', 'STATUS', 'RESTARTS', 'MESH', 'AGE']
      context.terminal.out(`\n${formatTable(header, rows)}`)
    })
}

async function listPods(context: CommandContext, name: string): Promise<Pod[]> {
  const client = registryClient(context, name)
  try {
    const { items } = await client.list<Pod>(resources.pods)
    return items
  } catch {
    // The registry is still coming up; the rest of the answer is true without pods.
    return []
  } finally {
    client.close()
  }
}

function podSummary(pod: Pod) {
  const containers = pod.status?.containerStatuses ?? []
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    ready: `${containers.filter((entry) => entry.ready).length}/${containers.length}`,
    status: pod.metadata.deletionTimestamp ? 'Terminating' : troubleOf(pod),
    restarts: containers.reduce((sum, entry) => sum + entry.restartCount, 0),
    mesh: pod.metadata.annotations?.['ambient.istio.io/redirection'] ?? '-',
    created: pod.metadata.creationTimestamp ?? '',
  }
}

/** What kubectl shows as STATUS: the reason of a container in trouble, else the phase. */
function troubleOf(pod: Pod): string {
  for (const { state } of pod.status?.containerStatuses ?? []) {
    const reason = state?.waiting?.reason ?? state?.terminated?.reason
    if (reason !== undefined) return reason
  }
  return pod.status?.phase ?? 'Unknown'
}

function describe(context: CommandContext, status: MeshStatus): string {
  const lines: [string, string | undefined][] = [
    [
      'mesh',
      `${status.name} (${status.state}${status.mode === undefined ? '' : `, ${status.mode}`})`,
    ],
    ['registry', status.registryUrl],
    ['ingress', status.ingressUrl],
    ['kubeconfig', status.kubeconfig],
    ['state', status.stateDirectory],
    [
      'up for',
      status.startedAt === undefined
        ? undefined
        : formatAge(context.clock.now() - Date.parse(status.startedAt)),
    ],
    ...status.listeners
      .filter(({ name }) => name.startsWith('service'))
      .map(({ name, port }): [string, string] => [name, `127.0.0.1:${port}`]),
  ]
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([label, value]) => `${`${label}:`.padEnd(13)}${value}\n`)
    .join('')
}
