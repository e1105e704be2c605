/** Which application protocol a service port speaks: `appProtocol`, then the port's name. */
import type { AppProtocol } from '../model/index.ts'

const byName: Readonly<Record<string, AppProtocol>> = {
  http: 'http',
  http2: 'http2',
  h2c: 'http2',
  grpc: 'grpc',
  'grpc-web': 'grpc',
  https: 'tls',
  tls: 'tls',
  tcp: 'tcp',
  mongo: 'tcp',
  mysql: 'tcp',
  redis: 'tcp',
  ws: 'http',
  wss: 'tls',
}

/** Servers that speak first: sniffing would hang on them, so these ports are plain TCP. */
const serverFirstPorts = new Set([25, 3306, 27017])

export function appProtocolOf(
  appProtocol: string | undefined,
  portName: string,
  port: number,
): AppProtocol {
  if (appProtocol !== undefined && appProtocol !== '') {
    const plain = appProtocol.toLowerCase().replace(/^(kubernetes|istio)\.io\//, '')
    return byName[plain] ?? 'unknown'
  }
  const name = portName.toLowerCase()
  const exact = byName[name.startsWith('grpc-web') ? 'grpc-web' : (name.split('-')[0] ?? '')]
  if (exact !== undefined) return exact
  return serverFirstPorts.has(port) ? 'tcp' : 'unknown'
}
