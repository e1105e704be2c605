/** Where the API server is and who we are: kubeconfig files and the in-cluster service account. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { type Clock, MeshError, toError } from '../base/index.ts'
import type { KubeClientOptions } from './client.ts'

interface Named<K extends string, V> {
  name: string
  value?: V
  cluster?: K extends 'cluster' ? V : never
  user?: K extends 'user' ? V : never
  context?: K extends 'context' ? V : never
}

interface Kubeconfig {
  'current-context'?: string
  clusters?: Named<
    'cluster',
    {
      server?: string
      'certificate-authority'?: string
      'certificate-authority-data'?: string
      'tls-server-name'?: string
    }
  >[]
  users?: Named<
    'user',
    {
      token?: string
      tokenFile?: string
      'client-certificate'?: string
      'client-certificate-data'?: string
      'client-key'?: string
      'client-key-data'?: string
      exec?: unknown
    }
  >[]
  contexts?: Named<'context', { cluster?: string; user?: string; namespace?: string }>[]
}

/**
 * Options from a kubeconfig file. Exec credential plugins are refused with a clear text.
 * @param contextName absent: the file's current context
 */
export function kubeconfigOptions(
  path: string,
  clock: Clock,
  contextName?: string,
): KubeClientOptions {
  let config: Kubeconfig
  try {
    // The shape is checked field by field below.
    config = parse(readFileSync(path, 'utf8')) as Kubeconfig
  } catch (error) {
    throw new MeshError(
      'CLIENT_KUBECONFIG',
      `can't read the kubeconfig ${path}: ${toError(error).message}`,
      {
        cause: error,
        hint: 'Name the right file with --kubeconfig or the variable KUBECONFIG.',
      },
    )
  }
  const wanted = contextName ?? config['current-context']
  const context = config.contexts?.find((entry) => entry.name === wanted)?.context
  const cluster = config.clusters?.find((entry) => entry.name === context?.cluster)?.cluster
  const user = config.users?.find((entry) => entry.name === context?.user)?.user ?? {}
  if (context === undefined || cluster?.server === undefined) {
    throw new MeshError('CLIENT_KUBECONFIG', `${path} has no usable context "${wanted ?? ''}"`, {
      hint: `Contexts there: ${config.contexts?.map((entry) => entry.name).join(', ') || 'none'}.`,
    })
  }
  if (user.exec !== undefined) {
    throw new MeshError(
      'CLIENT_KUBECONFIG',
      `user "${context.user}" in ${path} uses an exec credential plugin`,
      {
        hint: 'Use a context with a token or a client certificate.',
      },
    )
  }
  const folder = dirname(path)
  const data = (inline: string | undefined, file: string | undefined): string | undefined => {
    if (inline !== undefined) return Buffer.from(inline, 'base64').toString()
    return file === undefined ? undefined : readFileSync(join(folder, file), 'utf8')
  }
  const ca = data(cluster['certificate-authority-data'], cluster['certificate-authority'])
  const certPem = data(user['client-certificate-data'], user['client-certificate'])
  const keyPem = data(user['client-key-data'], user['client-key'])
  const { token, tokenFile } = user
  return {
    server: cluster.server,
    clock,
    caPem: () => ca,
    ...(cluster['tls-server-name'] === undefined
      ? {}
      : { tlsServerName: cluster['tls-server-name'] }),
    ...(certPem === undefined || keyPem === undefined
      ? {}
      : { certificate: () => ({ certPem, keyPem }) }),
    ...(tokenFile !== undefined
      ? { token: () => readFileSync(join(folder, tokenFile), 'utf8').trim() }
      : token === undefined
        ? {}
        : { token: () => token }),
  }
}

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Options of a program that runs in a pod; token and root are read again as they rotate. */
export function inClusterOptions(
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
): KubeClientOptions {
  const host = environment.KUBERNETES_SERVICE_HOST
  if (host === undefined) {
    throw new MeshError('CLIENT_NOT_IN_CLUSTER', 'KUBERNETES_SERVICE_HOST is not set', {
      hint: 'Start this program as a pod, or give it a kubeconfig.',
    })
  }
  const port = environment.KUBERNETES_SERVICE_PORT ?? '443'
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    clock,
    caPem: () => readFileSync(join(serviceAccountFolder, 'ca.crt'), 'utf8'),
    token: () => readFileSync(join(serviceAccountFolder, 'token'), 'utf8').trim(),
  }
}
