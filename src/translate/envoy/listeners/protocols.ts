/** How a service port is listened to, by what its owner declared. */
import type { DeclaredProtocol, Service, ServicePort } from '../../../model/index.ts'

/** Where servers speak first, so that waiting for the client's bytes would wait for ever. */
const serverFirstPorts: ReadonlySet<number> = new Set([25, 53, 3306, 27_017])

export function speaksHttp({ appProtocol }: Pick<ServicePort, 'appProtocol'>): boolean {
  return appProtocol === 'http' || appProtocol === 'http2' || appProtocol === 'grpc'
}

/** Nobody said: the first bytes decide. */
export function sniffs({ appProtocol, port }: Pick<ServicePort, 'appProtocol' | 'port'>): boolean {
  return appProtocol === 'unknown' && !serverFirstPorts.has(port)
}

export function isServerFirst({ appProtocol, port }: ServicePort): boolean {
  return appProtocol === 'unknown' && serverFirstPorts.has(port)
}

export function isDynamic({ resolution }: Pick<Service, 'resolution'>): boolean {
  return resolution === 'dynamic-dns'
}

export type ServerKind = 'http' | 'https' | 'tcp' | 'tls'

const kinds: Readonly<Record<string, ServerKind>> = {
  HTTP: 'http',
  HTTP_PROXY: 'http',
  HTTP2: 'http',
  GRPC: 'http',
  'GRPC-WEB': 'http',
  HTTPS: 'https',
  TLS: 'tls',
  TCP: 'tcp',
  MONGO: 'tcp',
  REDIS: 'tcp',
  MYSQL: 'tcp',
}

/** Of a Gateway's server or a Sidecar's listener; undefined for what is no protocol. */
export function serverKind(protocol: string | undefined): ServerKind | undefined {
  return kinds[(protocol ?? '').toUpperCase()]
}

export function declaredOf(protocol: string | undefined): DeclaredProtocol {
  const upper = (protocol ?? '').toUpperCase()
  // Only what is in the table is a protocol.
  return upper in kinds ? (upper as DeclaredProtocol) : ''
}
