/** What a proxy should hold, in the form of Envoy's own `/config_dump`, so that the two can be compared. */
import type { JsonObject } from '@bufbuild/protobuf'
import { typeUrl as urls } from '../proto/index.ts'
import type { ConnectionInfo, EncodedResource, ResourceSource } from '../xds/index.ts'
import { anyToJson, encodeMessage, jsonToBytes } from './envoy-json.ts'

const admin = 'type.googleapis.com/envoy.admin.v3'

interface Section {
  readonly type: string
  /** The message of the dump, and its list. */
  readonly message: string
  readonly list: string
  /** The field of an entry that holds the resource. */
  readonly field: string
}

const sections: readonly Section[] = [
  {
    type: urls.cluster,
    message: 'ClustersConfigDump',
    list: 'dynamicActiveClusters',
    field: 'cluster',
  },
  {
    type: urls.endpoint,
    message: 'EndpointsConfigDump',
    list: 'dynamicEndpointConfigs',
    field: 'endpointConfig',
  },
  {
    type: urls.listener,
    message: 'ListenersConfigDump',
    list: 'dynamicListeners',
    field: 'listener',
  },
  {
    type: urls.route,
    message: 'RoutesConfigDump',
    list: 'dynamicRouteConfigs',
    field: 'routeConfig',
  },
  {
    type: urls.secret,
    message: 'SecretsConfigDump',
    list: 'dynamicActiveSecrets',
    field: 'secret',
  },
]

const redacted = { inlineBytes: Buffer.from('[redacted]').toString('base64') }

/** The resources of a type that a connected proxy is subscribed to. */
export function resourcesOf(
  source: ResourceSource,
  connection: ConnectionInfo,
  typeUrl: string,
): EncodedResource[] {
  const type = connection.types.find((known) => known.typeUrl === typeUrl)
  if (type === undefined) return []
  const { node } = connection
  if (type.wildcard) return [...source.list(typeUrl, node)]
  const found = new Map<string, EncodedResource>()
  for (const name of type.watch.subscribed()) {
    const resource = source.get(typeUrl, name, node)
    if (resource !== undefined) found.set(resource.name, resource)
  }
  return [...found.values()]
}

/** Endpoints only when asked for, as Envoy does it. */
export function configDump(
  source: ResourceSource,
  connection: ConnectionInfo,
  withEndpoints: boolean,
): JsonObject {
  const configs: JsonObject[] = [{ '@type': `${admin}.BootstrapConfigDump` }]
  for (const { section, version, resources } of chosen(source, connection, withEndpoints)) {
    const entries = resources.map((resource) => {
      const json = readable(resource)
      if (section.type !== urls.listener) return { versionInfo: version, [section.field]: json }
      return { name: resource.name, activeState: { versionInfo: version, listener: json } }
    })
    configs.push({
      '@type': `${admin}.${section.message}`,
      ...(hasVersion(section) ? { versionInfo: version } : {}),
      [section.list]: entries,
    })
  }
  return { configs }
}

/** The same as messages, one for each section: what istioctl compares with Envoy's. */
export function configDumpMessages(
  source: ResourceSource,
  connection: ConnectionInfo,
): { readonly typeUrl: string; readonly bytes: Uint8Array }[] {
  const bootstrap = { typeUrl: `${admin}.BootstrapConfigDump`, bytes: new Uint8Array() }
  const dumps = chosen(source, connection, false).map(({ section, version, resources }) => {
    const entries = resources.map((resource) => {
      const { typeUrl } = resource
      const any = { typeUrl, value: safeBytes(resource) }
      if (section.type !== urls.listener) return { versionInfo: version, [section.field]: any }
      return { name: resource.name, activeState: { versionInfo: version, listener: any } }
    })
    const typeUrl = `${admin}.${section.message}`
    const fields = {
      ...(hasVersion(section) ? { versionInfo: version } : {}),
      [section.list]: entries,
    }
    return { typeUrl, bytes: encodeMessage(typeUrl, fields) }
  })
  return [bootstrap, ...dumps]
}

function chosen(source: ResourceSource, connection: ConnectionInfo, withEndpoints: boolean) {
  return sections
    .filter(({ type }) => type !== urls.endpoint || withEndpoints)
    .map((section) => ({
      section,
      version: connection.types.find(({ typeUrl }) => typeUrl === section.type)?.versionSent ?? '',
      resources: resourcesOf(source, connection, section.type),
    }))
}

/** Of clusters and listeners the whole has a version, of the others each entry only. */
function hasVersion({ type }: Section): boolean {
  return type === urls.cluster || type === urls.listener
}

/** As JSON, without keys. */
export function readable(resource: EncodedResource): JsonObject {
  const json = anyToJson(resource.typeUrl, resource.bytes)
  if (resource.typeUrl !== urls.secret) return json
  // What can't be read may hold a key.
  if ('value' in json) return { '@type': resource.typeUrl, name: resource.name }
  const certificate = json.tlsCertificate
  return {
    ...json,
    ...(typeof certificate === 'object' && certificate !== null && !Array.isArray(certificate)
      ? { tlsCertificate: { ...certificate, privateKey: redacted } }
      : {}),
    ...('genericSecret' in json ? { genericSecret: { secret: redacted } } : {}),
    ...('sessionTicketKeys' in json ? { sessionTicketKeys: { keys: [redacted] } } : {}),
  }
}

function safeBytes(resource: EncodedResource): Uint8Array {
  if (resource.typeUrl !== urls.secret) return resource.bytes
  const { '@type': _, ...json } = readable(resource)
  return jsonToBytes(resource.typeUrl, json)
}
