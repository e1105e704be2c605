/** What can go wrong with a stock Envoy, in words for the operator. */
import { MeshError } from '../../base/index.ts'

export function envoyMissing(looked: readonly string[]): MeshError {
  return new MeshError(
    'L7PROXY_NO_ENVOY',
    `this proxy is to run on Envoy, and there is none: looked for ${looked.join(', ')}`,
    {
      hint:
        'Run "weft tools envoy" on the machine, or install envoy in its PATH; the pod finds it when it starts ' +
        'again. Gateways that only route HTTP can do without: annotate them with weft.dev/engine: weft.',
    },
  )
}

export function envoyNotStarted(path: string, cause: Error): MeshError {
  return new MeshError('L7PROXY_ENVOY_START', `${path} could not be started: ${cause.message}`, {
    hint: 'It must be a stock Envoy for this machine: "envoy --version" tells.',
    cause,
  })
}

export function envoyEnded(code: number | null, signal: string | null): MeshError {
  const how = signal === null ? `with code ${code ?? 'unknown'}` : `by signal ${signal}`
  return new MeshError('L7PROXY_ENVOY_ENDED', `Envoy ended ${how}`, {
    hint: 'Its last lines are above in this log; the pod starts it again.',
  })
}

export function adminUnanswered(path: string, cause: unknown): MeshError {
  return new MeshError('L7PROXY_ENVOY_ADMIN', `Envoy's admin port did not answer ${path}`, {
    cause,
    retryable: true,
  })
}

export function badSetting(name: string, value: string, wanted: string): MeshError {
  return new MeshError('L7PROXY_CONFIG', `${name}="${value}" is not ${wanted}`, {
    hint: 'It comes from the environment of the pod; its Gateway and MeshConfig decide about that.',
  })
}
