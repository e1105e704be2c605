/** For tests: a stock Envoy judges listeners and clusters in validation mode, as a bootstrap that names them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const limitMs = 60_000
const extension = (path: string): string => `type.googleapis.com/envoy.extensions.${path}`

function agent(name: string): object {
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': extension('upstreams.http.v3.HttpProtocolOptions'),
      explicitHttpConfig: { http2ProtocolOptions: {} },
    },
  }
  const loadAssignment = { clusterName: name }
  return { name, type: 'STATIC', loadAssignment, typedExtensionProtocolOptions: http2 }
}

/** @param messages in JSON */
export function bootstrapOf(messages: {
  readonly listeners: readonly unknown[]
  readonly clusters: readonly unknown[]
}): object {
  return {
    node: { id: 'test', cluster: 'test' },
    dynamicResources: {
      adsConfig: {
        apiType: 'GRPC',
        transportApiVersion: 'V3',
        grpcServices: [{ envoyGrpc: { clusterName: 'xds' } }],
      },
    },
    bootstrapExtensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typedConfig: { '@type': extension('bootstrap.internal_listener.v3.InternalListener') },
      },
    ],
    staticResources: {
      clusters: [agent('xds'), agent('sds-grpc'), ...messages.clusters],
      listeners: messages.listeners,
    },
  }
}

/** Why it refuses or warns of something deprecated; empty when it does neither. */
export async function validate(envoy: string, file: string): Promise<string> {
  const options = ['--mode', 'validate', '--log-level', 'warning', '--config-path', file]
  const child = spawn(envoy, options, { stdio: ['ignore', 'pipe', 'pipe'], timeout: limitMs })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return code === 0 && !/deprecated/i.test(output) ? '' : output.slice(-2000)
}
