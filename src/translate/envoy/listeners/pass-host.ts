/** Virtual hosts that send every request to one cluster, without anybody's rules. */
import type { HttpRetryPolicy } from '../../../model/index.ts'
import type { ClusterRef } from '../clusters/names.ts'
import { anyRequest, noChanges, type Retry, type VirtualHost } from '../routes/ir.ts'

export interface PassOptions {
  readonly config?: string
  readonly path?: string
  readonly retry?: Retry | undefined
}

export function passHost(
  name: string,
  cluster: string,
  { config = '', path = '', retry }: PassOptions = {},
): VirtualHost {
  const ref: ClusterRef = { name: cluster, service: '', port: 0, subset: '' }
  return {
    name,
    domains: ['*'],
    config: config === '' ? undefined : config,
    requireTls: false,
    rules: [
      {
        name: 'default',
        config,
        path,
        match: anyRequest,
        headers: noChanges,
        cors: undefined,
        fault: undefined,
        statPrefix: '',
        action: {
          kind: 'forward',
          targets: [{ cluster: ref, weight: 0, headers: noChanges, hash: undefined }],
          mirrors: [],
          rewrite: undefined,
          authority: undefined,
          timeoutMs: 0,
          retry,
          missing: 503,
        },
      },
    ],
  }
}

const inboundAttempts = 2

/** Requests that never reached the application are tried once more; nothing else is safe to repeat. */
export function inboundRetry(policy: HttpRetryPolicy | undefined): Retry | undefined {
  const attempts = policy?.attempts ?? inboundAttempts
  if (attempts === 0) return undefined
  return {
    attempts,
    perTryMs: undefined,
    on: policy?.retryOn || 'reset-before-request',
    codes: [],
    remoteLocalities: false,
    ignorePreviousHosts: false,
    backoffMs: undefined,
  }
}
