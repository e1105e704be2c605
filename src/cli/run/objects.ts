/** The objects of `weft run`: a Pod, and a Service when it has ports. Pure. */
import { MeshError } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'

export interface RunPort {
  /** Of the Service. */
  readonly port: number
  /** On which the command listens. */
  readonly targetPort: number
  /** `http`, `grpc`, `tcp` ...; the port's `appProtocol`. */
  readonly protocol: string | undefined
}

export interface RunRequest {
  readonly namespace: string
  readonly name: string
  readonly image: string
  readonly ports: readonly RunPort[]
  readonly env: ReadonlyMap<string, string>
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string | undefined
  readonly meshed: boolean
  /** Started again when it ends: nobody is there to see it end. */
  readonly detached: boolean
  /** Whose files the command works with; undefined leaves it to the runtime. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined
}

const mode = 'istio.io/dataplane-mode'
/** What a command may take to end after Ctrl-C. */
const graceSeconds = 5

/** `8080`, `80:8080`, `8080/http`: what `--port` takes. Undefined when it is none of these. */
export function parseRunPort(text: string): RunPort | undefined {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})(?:\/([a-z][a-z0-9]*))?$/.exec(text)
  if (match === null) return undefined
  const targetPort = Number(match[2])
  const port = match[1] === undefined ? targetPort : Number(match[1])
  if ([port, targetPort].some((number) => number < 1 || number > 65_535)) return undefined
  return { port, targetPort, protocol: match[3] }
}

/** `KEY=VALUE`; `KEY` alone takes the value of the user's own environment. */
export function parseRunEnv(
  texts: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
): Map<string, string> {
  const env = new Map<string, string>()
  for (const text of texts) {
    const at = text.indexOf('=')
    const key = at < 0 ? text : text.slice(0, at)
    const value = at < 0 ? own[key] : text.slice(at + 1)
    if (key === '' || value === undefined) {
      throw new MeshError(
        'CLI_FLAGS',
        `--env ${text}: ${key === '' ? 'no name' : `${key} is not set`}`,
        {
          hint: 'Give KEY=VALUE, or the KEY of a variable of your own environment.',
        },
      )
    }
    env.set(key, value)
  }
  return env
}

/** `KEY=VALUE` of `--label`. */
export function parseRunLabels(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at <= 0) throw new MeshError('CLI_FLAGS', `--label ${text} is not KEY=VALUE`)
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}

export function runPod(request: RunRequest): KubeObject {
  const { name, namespace, ports, env, labels, serviceAccount, user } = request
  const [first] = ports
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { app: name, [mode]: request.meshed ? 'ambient' : 'none', ...labels },
    },
    spec: {
      restartPolicy: request.detached ? 'Always' : 'Never',
      terminationGracePeriodSeconds: graceSeconds,
      ...(serviceAccount === undefined ? {} : { serviceAccountName: serviceAccount }),
      ...(user === undefined
        ? {}
        : { securityContext: { runAsUser: user.uid, runAsGroup: user.gid } }),
      containers: [
        {
          name: 'main',
          image: request.image,
          imagePullPolicy: 'IfNotPresent',
          env: [...env].map(([key, value]) => ({
            name: key,
            // A literal: `$(X)` would be taken for a reference.
            value: value.replaceAll('$(', () => '$$('),
          })),
          ports: ports.map(({ targetPort }) => ({ containerPort: targetPort })),
          ...(first === undefined
            ? {}
            : {
                readinessProbe: {
                  tcpSocket: { port: first.targetPort },
                  periodSeconds: 1,
                  failureThreshold: 1,
                },
              }),
        },
      ],
    },
  }
}

/** The Service in front of the pod; it goes when the pod goes. */
export function runService(request: RunRequest, podUid: string): KubeObject {
  const { name, namespace, ports } = request
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      labels: { app: name },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name, uid: podUid }],
    },
    spec: {
      selector: { app: name },
      ports: ports.map(({ port, targetPort, protocol }) => ({
        name: `${protocol ?? 'port'}-${port}`,
        port,
        targetPort,
        ...(protocol === undefined ? {} : { appProtocol: protocol }),
      })),
    },
  }
}
