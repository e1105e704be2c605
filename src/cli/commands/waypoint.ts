/** `weft waypoint`: with istioctl's subcommands, flags and tables. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { MeshError, parseGoDuration } from '../../base/index.ts'
import { type ClosableKubeClient, createKubeClient, kubeconfigOptions } from '../../client/index.ts'
import { isApiError, resources } from '../../kube/index.ts'
import { type CommandContext, nameFlag, registryClient } from '../context.ts'
import { formatStructured } from '../output.ts'
import {
  applyWaypoint,
  enrollNamespace,
  getNamespace,
  listWaypoints,
  podTroubles,
  waitForWaypoint,
} from '../waypoint/actions.ts'
import {
  isProgrammed,
  istioTable,
  keyOf,
  modeLabel,
  programmed,
  revisionLabel,
  revisionOf,
  trafficTypeOf,
  trafficTypes,
  useWaypointLabel,
  waypointObject,
} from '../waypoint/gateway.ts'

const examples = `
Examples:
  weft waypoint apply -n shop --enroll-namespace --wait   a waypoint for all Services of a namespace
  weft waypoint generate -n shop --for all                its YAML, to keep with the rest
  weft waypoint list -A
  weft waypoint status -n shop                            why one is not ready
  weft waypoint delete waypoint -n shop

--name is the waypoint's name, as with istioctl; a mesh that is not the default one is --mesh.`

/** The namespace's own waypoint, when no name is given. */
const defaultName = 'waypoint'
const readyTimeout = '90s'

interface Target {
  readonly mesh: string
  readonly kubeconfig?: string
  readonly namespace?: string
}

interface Naming extends Target {
  readonly name: string
  readonly for?: string
  readonly revision?: string
}

interface Waiting {
  readonly wait: boolean
  readonly waypointTimeout: number
}

export function addWaypoint(program: Command, context: CommandContext): void {
  const group = program
    .command('waypoint')
    .description('make, list and delete waypoints: layer 7 proxies of ambient namespaces')
    .addHelpText('after', examples)
  const add = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .option('-n, --namespace <namespace>', 'namespace of the waypoint')
      .option(
        '--mesh <mesh>',
        'name of the mesh (or the variable WEFT_NAME)',
        context.environment.WEFT_NAME ?? 'default',
      )
      .option('-c, --kubeconfig <file>', 'another cluster instead')
  const named = (command: Command): Command =>
    command
      .option('--name <name>', 'name of the waypoint', defaultName)
      .addOption(new Option('--for <type>', 'the traffic it is for').choices([...trafficTypes]))
      .option('-r, --revision <revision>', 'revision that shall run it')
  const waiting = (command: Command, what: string, byDefault: boolean): Command =>
    command
      .option('-w, --wait [bool]', what, yesOrNo, byDefault)
      .option('--waypoint-timeout <duration>', 'how long to wait', duration, duration(readyTimeout))

  waiting(named(add('apply', 'create or change a waypoint')), 'until it is ready', false)
    .option('--enroll-namespace', 'send the traffic for the namespace through it')
    .option('--overwrite', 'also when the namespace has another waypoint')
    .action((options: Naming & Waiting & { enrollNamespace?: boolean; overwrite?: boolean }) =>
      withClient(context, options, (client) => apply(context, client, options)),
    )
  named(add('generate', 'print the YAML of a waypoint')).action((options: Naming) =>
    context.terminal.out(formatStructured(waypointOf(options, options.namespace), 'yaml')),
  )
  add('delete', 'delete waypoints by name, all, or those of a revision')
    .argument('[names...]', 'names of waypoints')
    .option('--all', 'all of the namespace')
    .option('-r, --revision <revision>', 'those of this revision')
    .action((names: string[], options: Target & { all?: boolean; revision?: string }) =>
      withClient(context, options, (client) => remove(context, client, names, options)),
    )
  add('list', 'list waypoints')
    .option('-A, --all-namespaces', 'of all namespaces')
    .action((options: Target & { allNamespaces?: boolean }) =>
      withClient(context, options, (client) => list(context, client, options)),
    )
  waiting(
    add('status', 'show whether waypoints are ready, and why not'),
    'until they are',
    true,
  ).action((options: Target & Waiting) =>
    withClient(context, options, (client) => status(context, client, options)),
  )
  for (const command of group.commands) command.exitOverride()
}

/** `--wait`, and as other tools have it `--wait=false`. */
function yesOrNo(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('it is true or false')
  return text === 'true'
}

function duration(text: string): number {
  const milliseconds = parseGoDuration(text)
  if (milliseconds === undefined) throw new InvalidArgumentError('write it like 90s or 2m')
  return milliseconds
}

async function withClient(
  context: CommandContext,
  { mesh, kubeconfig }: Target,
  run: (client: ClosableKubeClient) => Promise<void>,
): Promise<void> {
  const client =
    kubeconfig === undefined
      ? registryClient(context, mesh)
      : createKubeClient(kubeconfigOptions(kubeconfig, context.clock))
  try {
    await run(client)
  } finally {
    client.close()
  }
}

const namespaceOf = ({ namespace }: Target): string => namespace ?? 'default'

function waypointOf(options: Naming, namespace: string | undefined) {
  const name = options.name === '' ? defaultName : options.name
  if (name === 'none') {
    throw new MeshError('CLI_FLAGS', "a waypoint can't be named none", {
      hint: `As a value of ${useWaypointLabel}, none stands for no waypoint at all.`,
    })
  }
  const { for: trafficType, revision } = options
  return waypointObject({ name, namespace, trafficType, revision })
}

async function apply(
  context: CommandContext,
  client: ClosableKubeClient,
  options: Naming & Waiting & { enrollNamespace?: boolean; overwrite?: boolean },
): Promise<void> {
  const { out } = context.terminal
  const namespace = namespaceOf(options)
  const waypoint = waypointOf(options, namespace)
  const { name } = waypoint.metadata
  const { labels = {} } = (await getNamespace(client, namespace)).metadata
  if (options.enrollNamespace === true) {
    const present = labels[useWaypointLabel]
    if (present !== undefined && present !== '' && options.overwrite !== true) {
      const flag = '`--overwrite`'
      out(
        `⚠️ Warning: namespace (${namespace}) already has an enrolled Waypoint. Consider adding the ${flag} flag to your apply command.\n`,
      )
      return
    }
    if (labels[modeLabel] !== 'ambient') {
      const command = `kubectl label namespace ${namespace} ${modeLabel}=ambient`
      out(`⚠️ Warning: namespace is not enrolled in ambient. Consider running\t\`${command}\`\n`)
    }
  }
  await applyWaypoint(client, waypoint)
  out(`✅ waypoint ${namespace}/${name} applied\n`)
  if (options.wait) {
    await waitUntilReady(context, client, options, { namespace, name })
    out(`✅ waypoint ${namespace}/${name} is ready!\n`)
  }
  if (options.enrollNamespace === true) {
    await enrollNamespace(client, namespace, name)
    out(`✅ namespace ${namespace} labeled with "${useWaypointLabel}: ${name}"\n`)
  }
}

async function waitUntilReady(
  { clock }: CommandContext,
  client: ClosableKubeClient,
  { waypointTimeout, mesh }: Waiting & Target,
  key: { readonly namespace: string; readonly name: string },
): Promise<void> {
  const found = await waitForWaypoint(client, key, { clock, timeoutMs: waypointTimeout })
  if (found !== undefined && isProgrammed(found)) return
  const what = `timed out while waiting for waypoint ${key.namespace}/${key.name}`
  const reason = found === undefined ? 'it is gone' : (programmed(found)?.message ?? '')
  const troubles = found === undefined ? [] : await podTroubles(client, found)
  throw new MeshError('CLI_WAYPOINT_TIMEOUT', reason === '' ? what : `${what}: ${reason}`, {
    hint:
      troubles.length > 0
        ? troubles.join('\n')
        : `Its proxy tells more: weft logs${nameFlag(mesh)} ${key.namespace}/deploy/${key.name}`,
  })
}

async function remove(
  context: CommandContext,
  client: ClosableKubeClient,
  names: readonly string[],
  options: Target & { all?: boolean; revision?: string },
): Promise<void> {
  const { out } = context.terminal
  const isAll = options.all === true || options.revision !== undefined
  if (isAll && names.length > 0) {
    throw new MeshError('CLI_FLAGS', 'cannot specify waypoint names when deleting all waypoints')
  }
  if (!isAll && names.length === 0) {
    throw new MeshError(
      'CLI_FLAGS',
      'must specify a waypoint name or delete all using --all or delete specific revision using --revision',
    )
  }
  const namespace = namespaceOf(options)
  const selector =
    options.revision === undefined ? undefined : `${revisionLabel}=${options.revision}`
  const present = await listWaypoints(client, namespace, selector)
  const known = new Set(present.map(({ metadata }) => metadata.name))
  for (const name of isAll ? known : names) {
    const isGone = !known.has(name) || !(await removeOne(client, namespace, name))
    out(`waypoint ${namespace}/${name} ${isGone ? 'not found' : 'deleted'}\n`)
  }
}

/** False when somebody was faster. */
async function removeOne(
  client: ClosableKubeClient,
  namespace: string,
  name: string,
): Promise<boolean> {
  try {
    await client.delete(resources.gateways, namespace, name)
    return true
  } catch (error) {
    if (isApiError(error, 'NotFound')) return false
    throw error
  }
}

async function list(
  context: CommandContext,
  client: ClosableKubeClient,
  options: Target & { allNamespaces?: boolean },
): Promise<void> {
  const isAll = options.allNamespaces === true
  const waypoints = await listWaypoints(client, isAll ? undefined : namespaceOf(options))
  if (waypoints.length === 0) return context.terminal.out('No waypoints found.\n')
  const columns = ['NAME', 'REVISION', 'TRAFFIC TYPE', 'PROGRAMMED']
  const rows = waypoints.map((waypoint) => [
    ...(isAll ? [waypoint.metadata.namespace ?? ''] : []),
    waypoint.metadata.name,
    revisionOf(waypoint),
    trafficTypeOf(waypoint),
    programmed(waypoint)?.status ?? 'False',
  ])
  context.terminal.out(istioTable([isAll ? ['NAMESPACE', ...columns] : columns, ...rows]))
}

async function status(
  context: CommandContext,
  client: ClosableKubeClient,
  options: Target & Waiting,
): Promise<void> {
  const { terminal, clock } = context
  const isNamed = options.namespace !== undefined
  const waypoints = await listWaypoints(client, namespaceOf(options))
  if (waypoints.length === 0) return terminal.out('No waypoints found.\n')
  const columns = ['NAME', 'STATUS', 'TYPE', 'REASON', 'MESSAGE']
  const rows: string[][] = [isNamed ? columns : ['NAMESPACE', ...columns]]
  const unready: string[] = []
  const deadline = clock.monotonic() + (options.wait ? options.waypointTimeout : 0)
  for (const waypoint of waypoints) {
    const { namespace = '', name } = waypoint.metadata
    const timeoutMs = Math.max(0, deadline - clock.monotonic())
    const found =
      (await waitForWaypoint(client, { namespace, name }, { clock, timeoutMs })) ?? waypoint
    const { status: state = 'Unknown', reason = '', message = '' } = programmed(found) ?? {}
    rows.push([...(isNamed ? [] : [namespace]), name, state, 'Programmed', reason, message])
    if (isProgrammed(found)) continue
    unready.push(keyOf(found))
    for (const trouble of await podTroubles(client, found)) terminal.err(`${trouble}\n`)
  }
  terminal.out(istioTable(rows))
  if (!options.wait || unready.length === 0) return
  const what = `timed out while retrieving status for waypoint ${unready.join(', ')}`
  throw new MeshError('CLI_WAYPOINT_TIMEOUT', what)
}
