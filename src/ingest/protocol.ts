/**
 * Which application protocol a service port speaks: `appProtocol`, then the port's name up to its
 * first dash. Nothing declared: proxies look at the first bytes, but never at ports whose servers are
 * known to speak first.
 */
import type { AppProtocol, DeclaredProtocol } from '../model/index.ts'

const names: Readonly<Record<string, DeclaredProtocol>> = {
  http: 'HTTP',
  http_proxy: 'HTTP_PROXY',
  http2: 'HTTP2',
  https: 'HTTPS',
  grpc: 'GRPC',
  'grpc-web': 'GRPC-WEB',
  tcp: 'TCP',
  tls: 'TLS',
  mongo: 'MONGO',
  mysql: 'MYSQL',
  redis: 'REDIS',
  udp: 'UDP',
  hbone: 'HBONE',
}

/** Kubernetes' own values of `appProtocol`. */
const kubernetesNames: Readonly<Record<string, DeclaredProtocol>> = {
  'kubernetes.io/h2c': 'HTTP2',
  'kubernetes.io/ws': 'HTTP',
  'kubernetes.io/wss': 'HTTPS',
}

/** Servers that speak first (SMTP, DNS, MySQL, MongoDB): sniffing would hang, so these are TCP. */
const serverFirstPorts = new Set([25, 53, 3306, 27017])

const coarse: Readonly<Record<DeclaredProtocol, AppProtocol>> = {
  '': 'unknown',
  HTTP: 'http',
  HTTP_PROXY: 'http',
  HTTP2: 'http2',
  HTTPS: 'tls',
  GRPC: 'grpc',
  'GRPC-WEB': 'grpc',
  TCP: 'tcp',
  TLS: 'tls',
  MONGO: 'tcp',
  MYSQL: 'tcp',
  REDIS: 'tcp',
  UDP: 'unknown',
  HBONE: 'unknown',
}

export function declaredProtocol(
  appProtocol: string | undefined,
  portName: string,
  port: number,
): DeclaredProtocol {
  if (appProtocol !== undefined && appProtocol !== '') {
    const plain = appProtocol.toLowerCase()
    return kubernetesNames[plain] ?? names[plain.replace(/^istio\.io\//, '')] ?? ''
  }
  const name = portName.toLowerCase()
  const isWeb = name === 'grpc-web' || name.startsWith('grpc-web-')
  const byName = names[isWeb ? 'grpc-web' : (name.split('-')[0] ?? '')]
  if (byName !== undefined) return byName
  return serverFirstPorts.has(port) ? 'TCP' : ''
}

export function coarseProtocol(declared: DeclaredProtocol): AppProtocol {
  return coarse[declared]
}
