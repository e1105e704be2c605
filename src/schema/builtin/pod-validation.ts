/** Rules for pods and pod templates, and for what may change in a pod that exists. */
import { validateDnsLabel, validateDnsSubdomain } from '../../kube/index.ts'
import { asMap, type Json, mapsOf, sameJson } from '../json.ts'
import { containerErrors, type PodFacts } from './container-validation.ts'
import { labelsErrors } from './metadata-validation.ts'
import type { Cursor } from './report.ts'

/** Fields of a volume that are not a source. */
const notSources = ['name']

export function podSpecErrors(spec: Cursor): void {
  const volumes = new Set<string>()
  for (const volume of spec.children('volumes')) {
    const name = volume.text('name') ?? ''
    if (volume.need('name')) {
      volume.rule('name', validateDnsLabel)
      if (volumes.has(name)) volume.duplicate('name')
      volumes.add(name)
    }
    const sources = Object.keys(volume.map).filter(
      (key) => !notSources.includes(key) && volume.isSet(key),
    )
    for (const source of sources.slice(1)) {
      volume.forbidden(source, 'may not specify more than 1 volume type')
    }
  }
  const facts: PodFacts = {
    volumes,
    hostNetwork: spec.value('hostNetwork') === true,
    names: new Set(),
  }
  const containers = spec.children('containers')
  if (containers.length === 0) spec.required('containers')
  for (const container of containers) containerErrors(container, facts)
  for (const container of spec.children('initContainers')) {
    containerErrors(container, facts)
    // Only native sidecars run beside the containers, and so can be probed.
    if (container.value('restartPolicy') === 'Always') continue
    for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle']) {
      if (container.isSet(name)) {
        container.forbidden(name, 'may not be set for init containers without restartPolicy=Always')
      }
    }
  }
  spec.notNegative('terminationGracePeriodSeconds')
  spec.rule('serviceAccountName', validateDnsSubdomain)
  spec.rule('nodeName', validateDnsSubdomain)
  spec.rule('hostname', validateDnsLabel)
  spec.rule('subdomain', validateDnsLabel)
  spec.errors.push(...labelsErrors(spec.value('nodeSelector'), spec.at('nodeSelector')))
  const deadline = spec.number('activeDeadlineSeconds')
  if (deadline !== undefined && deadline < 1) {
    spec.invalid('activeDeadlineSeconds', 'must be between 1 and 2147483647, inclusive')
  }
  if (spec.value('dnsPolicy') === 'None') {
    const servers = spec.child('dnsConfig')?.value('nameservers')
    if (!Array.isArray(servers) || servers.length === 0) {
      const text = 'must provide at least one DNS nameserver when `dnsPolicy` is None'
      spec.errors.push({
        reason: 'FieldValueRequired',
        message: `Required value: ${text}`,
        field: spec.at('dnsConfig.nameservers'),
      })
    }
  }
}

export function podErrors(pod: Cursor, old: Json | undefined): void {
  const spec = pod.child('spec')
  if (spec === undefined) {
    pod.required('spec')
    return
  }
  podSpecErrors(spec)
  const before = asMap(old?.['spec'])
  if (before === undefined) return
  if (!sameJson(frozen(before, before, spec.map), frozen(spec.map, before, spec.map))) {
    spec.forbidden(
      '',
      'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
    )
  }
}

/** A spec without what may change: images, the deadline, more tolerations, being scheduled. */
function frozen(spec: Json, before: Json, after: Json): Json {
  const rest: Json = { ...spec }
  delete rest['activeDeadlineSeconds']
  delete rest['schedulingGates']
  delete rest['ephemeralContainers']
  // Binding a pod to its node sets this once.
  if (before['nodeName'] === undefined || before['nodeName'] === '') delete rest['nodeName']
  const olds = mapsOf(before['tolerations'])
  const news = mapsOf(after['tolerations'])
  if (olds.every((each) => news.some((other) => sameJson(each, other)))) delete rest['tolerations']
  for (const list of ['containers', 'initContainers']) {
    if (!Array.isArray(rest[list])) continue
    rest[list] = mapsOf(rest[list]).map(
      ({ image: _image, resources: _resources, ...other }) => other,
    )
  }
  for (const [key, value] of Object.entries(rest)) if (value === null) delete rest[key]
  return rest
}
