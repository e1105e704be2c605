/**
 * Defaults of pods and pod templates. Clients dereference many of these without asking, and the
 * comparison of templates (one ReplicaSet each) depends on all of them being filled.
 */
import { asMap, asText, isMap, type Json, mapsOf } from '../json.ts'
import { defaults, ensureMap, isUnset } from './set.ts'

/** 0644: the mode of files made from ConfigMaps, Secrets and the like. */
const fileMode = 420

/** Fills a pod spec, whether of a pod or of a template. */
export function podSpecDefaults(spec: Json): void {
  defaults(spec, {
    dnsPolicy: 'ClusterFirst',
    restartPolicy: 'Always',
    schedulerName: 'default-scheduler',
    securityContext: {},
    terminationGracePeriodSeconds: 30,
  })
  // The old name of the field is kept in step by the API.
  if (isUnset(spec['serviceAccountName']) && !isUnset(spec['serviceAccount'])) {
    spec['serviceAccountName'] = spec['serviceAccount']
  }
  if (!isUnset(spec['serviceAccountName'])) spec['serviceAccount'] = spec['serviceAccountName']
  for (const volume of mapsOf(spec['volumes'])) volumeDefaults(volume)
  for (const list of ['containers', 'initContainers', 'ephemeralContainers']) {
    for (const container of mapsOf(spec[list])) containerDefaults(container)
  }
  for (const constraint of mapsOf(spec['topologySpreadConstraints'])) {
    defaults(constraint, { nodeAffinityPolicy: 'Honor', nodeTaintsPolicy: 'Ignore' })
  }
}

/** Fills the template of a workload. */
export function podTemplateDefaults(owner: Json | undefined): void {
  const template = owner === undefined ? undefined : asMap(owner['template'])
  if (template === undefined) return
  ensureMap(template, 'metadata')
  const spec = asMap(template['spec'])
  if (spec !== undefined) podSpecDefaults(spec)
}

function containerDefaults(container: Json): void {
  const image = asText(container['image'])
  defaults(container, {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: image !== undefined && tagOf(image) === 'latest' ? 'Always' : 'IfNotPresent',
  })
  for (const port of mapsOf(container['ports'])) defaults(port, { protocol: 'TCP' })
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = asMap(container[name])
    if (probe !== undefined) probeDefaults(probe)
  }
  const lifecycle = asMap(container['lifecycle']) ?? {}
  for (const name of ['postStart', 'preStop']) httpGetDefaults(asMap(lifecycle[name]))
  for (const variable of mapsOf(container['env'])) {
    fieldRefDefaults(asMap(asMap(variable['valueFrom'])?.['fieldRef']))
  }
}

/** The tag of an image name; `latest` when it has neither tag nor digest. */
function tagOf(image: string): string {
  const name = image.replace(/@.*$/, '')
  const tag = /:([^/:]+)$/.exec(name)?.[1]
  return tag ?? (name === image ? 'latest' : '')
}

function probeDefaults(probe: Json): void {
  // Zero means "not given" for these numbers.
  for (const name of ['timeoutSeconds', 'periodSeconds', 'successThreshold', 'failureThreshold']) {
    if (probe[name] === 0) delete probe[name]
  }
  defaults(probe, {
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  })
  httpGetDefaults(probe)
  const grpc = asMap(probe['grpc'])
  if (grpc !== undefined) defaults(grpc, { service: '' })
}

function httpGetDefaults(handler: Json | undefined): void {
  const httpGet = asMap(handler?.['httpGet'])
  if (httpGet === undefined) return
  if (httpGet['path'] === '') delete httpGet['path']
  defaults(httpGet, { path: '/', scheme: 'HTTP' })
}

function fieldRefDefaults(fieldRef: Json | undefined): void {
  if (fieldRef !== undefined) defaults(fieldRef, { apiVersion: 'v1' })
}

function volumeDefaults(volume: Json): void {
  if (Object.keys(volume).every((key) => key === 'name' || volume[key] === null)) {
    volume['emptyDir'] = {}
  }
  for (const name of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    const source = asMap(volume[name])
    if (source !== undefined) defaults(source, { defaultMode: fileMode })
  }
  downwardDefaults(asMap(volume['downwardAPI']))
  for (const source of mapsOf(asMap(volume['projected'])?.['sources'])) {
    downwardDefaults(asMap(source['downwardAPI']))
    const token = asMap(source['serviceAccountToken'])
    if (token !== undefined) defaults(token, { expirationSeconds: 3600 })
  }
  const hostPath = asMap(volume['hostPath'])
  if (hostPath !== undefined) defaults(hostPath, { type: '' })
}

function downwardDefaults(source: Json | undefined): void {
  for (const item of mapsOf(source?.['items'])) fieldRefDefaults(asMap(item['fieldRef']))
}

/** What only a pod has beyond its spec's defaults: the work of upstream's admission plugins too. */
export function podDefaults(pod: Json): void {
  const spec = asMap(pod['spec'])
  if (spec === undefined) return
  if (isUnset(spec['serviceAccountName']) && isUnset(spec['serviceAccount'])) {
    spec['serviceAccountName'] = 'default'
  }
  podSpecDefaults(spec)
  const priority = {
    enableServiceLinks: true,
    priority: 0,
    preemptionPolicy: 'PreemptLowerPriority',
  }
  defaults(spec, priority)
  for (const list of ['containers', 'initContainers']) {
    for (const container of mapsOf(spec[list])) {
      requestsFromLimits(asMap(container['resources']))
      if (spec['hostNetwork'] !== true) continue
      for (const port of mapsOf(container['ports'])) {
        defaults(port, { hostPort: port['containerPort'] })
      }
    }
  }
  tolerationDefaults(spec)
  const status = ensureMap(pod, 'status')
  if (status !== undefined) defaults(status, { phase: 'Pending', qosClass: qosClassOf(spec) })
}

function requestsFromLimits(resources: Json | undefined): void {
  const limits = asMap(resources?.['limits'])
  if (resources === undefined || limits === undefined) return
  const requests = ensureMap(resources, 'requests')
  if (requests !== undefined) defaults(requests, limits)
}

/** A pod stays five minutes on a node that went away, unless it says otherwise. */
function tolerationDefaults(spec: Json): void {
  const tolerations = Array.isArray(spec['tolerations']) ? spec['tolerations'] : []
  for (const name of ['not-ready', 'unreachable']) {
    const key = `node.kubernetes.io/${name}`
    const tolerated = tolerations.some(
      (each) =>
        isMap(each) &&
        (isUnset(each['effect']) || each['effect'] === 'NoExecute') &&
        (each['key'] === key || (isUnset(each['key']) && each['operator'] === 'Exists')),
    )
    if (tolerated) continue
    tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })
  }
  spec['tolerations'] = tolerations
}

/** Guaranteed, Burstable or BestEffort, from the CPU and memory of all containers. */
export function qosClassOf(spec: Json): string {
  const containers = [...mapsOf(spec['containers']), ...mapsOf(spec['initContainers'])]
  let any = false
  let all = containers.length > 0
  for (const container of containers) {
    const resources = asMap(container['resources']) ?? {}
    const limits = asMap(resources['limits']) ?? {}
    const requests = asMap(resources['requests']) ?? {}
    for (const name of ['cpu', 'memory']) {
      if (limits[name] !== undefined || requests[name] !== undefined) any = true
      if (limits[name] === undefined || (requests[name] ?? limits[name]) !== limits[name])
        all = false
    }
  }
  return any ? (all ? 'Guaranteed' : 'Burstable') : 'BestEffort'
}

const tokenPath = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * Mounts the projected service-account token, the root certificate and the namespace into every
 * container that has nothing at that path, as upstream's admission does.
 * @param suffix five random characters for the volume's name
 */
export function addServiceAccountVolume(pod: Json, suffix: string): void {
  const spec = asMap(pod['spec'])
  if (spec === undefined || spec['automountServiceAccountToken'] === false) return
  const volumes = Array.isArray(spec['volumes']) ? spec['volumes'] : []
  const present = mapsOf(volumes).find((each) =>
    asText(each['name'])?.startsWith('kube-api-access-'),
  )
  const name = asText(present?.['name']) ?? `kube-api-access-${suffix}`
  let used = false
  for (const list of ['initContainers', 'containers']) {
    for (const container of mapsOf(spec[list])) {
      const mounts = Array.isArray(container['volumeMounts']) ? container['volumeMounts'] : []
      if (mapsOf(mounts).some((mount) => mount['mountPath'] === tokenPath)) continue
      container['volumeMounts'] = [...mounts, { name, readOnly: true, mountPath: tokenPath }]
      used = true
    }
  }
  if (used && present === undefined) spec['volumes'] = [...volumes, tokenVolume(name)]
}

function tokenVolume(name: string): Json {
  const namespace = {
    path: 'namespace',
    fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' },
  }
  return {
    name,
    projected: {
      defaultMode: fileMode,
      sources: [
        // Seven seconds over an hour marks tokens which upstream made by itself.
        { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [namespace] } },
      ],
    },
  }
}
