/** Cluster DNS on the node's address: the zone first, everything else through the host's resolver. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { Component, Logger } from '../../base/index.ts'
import type { Informer } from '../../client/index.ts'
import {
  answerMessage,
  type DnsRecord,
  DnsServer,
  decodeMessage,
  encodeMessage,
  type Message,
  queryMessage,
  recordTypes,
  responseCodes,
} from '../../dns/index.ts'
import { clusterDomain, nodeAddress } from './addresses.ts'
import type { HostDoor } from './door.ts'
import { limits } from './limits.ts'
import type { EndpointSlice, Service } from './service-table.ts'
import { sliceIndex } from './services.ts'
import { answerFromZone, type ZoneLookups } from './zone.ts'

export interface ClusterDnsOptions {
  readonly services: Informer<Service>
  /** With the index `sliceIndex`. */
  readonly slices: Informer<EndpointSlice>
  readonly door: Pick<HostDoor, 'resolve'>
  readonly hostAccess: boolean
  readonly logger: Logger
  /** Where to listen; the node's address by default. */
  readonly address?: string
  readonly port?: number
}

export class ClusterDns implements Component {
  readonly #options: ClusterDnsOptions
  readonly #lookups: ZoneLookups
  readonly #server: DnsServer
  #udp: UdpSocket | undefined
  #tcp: Server | undefined

  constructor(options: ClusterDnsOptions) {
    this.#options = options
    const { services, slices, hostAccess } = options
    services.addIndex('namespace', ({ metadata }) => [metadata.namespace ?? 'default'])
    services.addIndex('address', ({ spec }) => spec?.clusterIPs ?? [spec?.clusterIP ?? ''])
    slices.addIndex('address', (slice) =>
      (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses),
    )
    this.#lookups = {
      service: (key) => services.get(key),
      slices: (key) => slices.byIndex(sliceIndex, key),
      namespaceExists: (name) => services.byIndex('namespace', name).length > 0,
      serviceByAddress: (address) => services.byIndex('address', address)[0],
      slicesByAddress: (address) => slices.byIndex('address', address),
      hostAccess,
    }
    this.#server = new DnsServer((query) => this.#answer(query), options.logger)
  }

  async start(): Promise<void> {
    const { address = nodeAddress, port = 53 } = this.#options
    this.#udp = createSocket({ type: 'udp4', reuseAddr: false })
    this.#udp.on('error', (error) => this.#options.logger.warn('udp', { error: error.message }))
    this.#udp.bind(port, address)
    this.#tcp = createServer().listen(port, address)
    await Promise.all([once(this.#udp, 'listening'), once(this.#tcp, 'listening')])
    this.#server.serveUdp(this.#udp)
    this.#server.serveTcp(this.#tcp)
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#udp?.close()
    this.#tcp?.close()
  }

  async #answer(query: Message): Promise<Message> {
    const [question] = query.questions
    if (question === undefined)
      return answerMessage(query, { responseCode: responseCodes.formatError })
    const answer = answerFromZone(question.name, question.type, this.#lookups)
    switch (answer.kind) {
      case 'foreign':
        return this.#forward(query)
      case 'missing':
        return answerMessage(query, {
          authoritative: true,
          responseCode: responseCodes.nameError,
          authorities: [startOfAuthority()],
        })
      case 'found':
        return answerMessage(query, {
          authoritative: true,
          answers: answer.records,
          additionals: answer.extra,
          authorities: answer.records.length === 0 ? [startOfAuthority()] : [],
        })
      case 'alias':
        return this.#alias(query, question.name, question.type, answer.target)
    }
  }

  /** CNAME of an ExternalName Service, with the target's addresses where they can be found. */
  async #alias(query: Message, name: string, type: number, target: string): Promise<Message> {
    const ttlSeconds = limits.dnsTtlSeconds
    const alias: DnsRecord = {
      name,
      type: recordTypes.CNAME,
      class: 1,
      ttlSeconds,
      data: { kind: 'name', name: target },
    }
    if (type === recordTypes.CNAME)
      return answerMessage(query, { authoritative: true, answers: [alias] })
    // One step only: an alias of an alias of ours stays unresolved instead of going in circles.
    const own = answerFromZone(target, type, this.#lookups)
    const rest =
      own.kind === 'found'
        ? own.records
        : own.kind === 'foreign'
          ? (await this.#forward(queryMessage(query.id, target, type))).answers
          : []
    return answerMessage(query, { authoritative: true, answers: [alias, ...rest] })
  }

  async #forward(query: Message): Promise<Message> {
    const bytes = await this.#options.door.resolve(
      encodeMessage({ ...query, recursionDesired: true }),
    )
    if (bytes === undefined)
      return answerMessage(query, { responseCode: responseCodes.serverFailure })
    const answer = decodeMessage(bytes)
    return { ...answer, id: query.id, questions: query.questions, truncated: false }
  }
}

/** Negative answers carry it, so that clients know how long to believe them. */
function startOfAuthority(): DnsRecord {
  return {
    name: clusterDomain,
    type: recordTypes.SOA,
    class: 1,
    ttlSeconds: limits.negativeTtlSeconds,
    data: {
      kind: 'authority',
      primary: `ns.dns.${clusterDomain}`,
      mailbox: `hostmaster.${clusterDomain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: limits.negativeTtlSeconds,
    },
  }
}
