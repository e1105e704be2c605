/** How a filter ends a request, or waits for something outside. */
import type { Origin } from '../types.ts'

export interface Reply {
  readonly kind: 'reply'
  readonly status: number
  readonly body: string | Uint8Array
  /** In order; names may repeat. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Envoy's response code details. */
  readonly details: string
  /** Envoy's response flag, such as `UAEX`. */
  readonly flag?: string | undefined
  /** For clients that speak gRPC; else it follows from the status. */
  readonly grpcStatus?: number | undefined
  /** The body stays out of answers to gRPC clients. */
  readonly by: string
  readonly origin?: Origin | undefined
}

/** Something that only the proxy can do, after which the decision goes on. */
export interface Pause {
  readonly kind: 'pause'
  readonly effect: Effect
  /** @param result of the kind that the effect names; a wrong one counts as a failure */
  resume(result: EffectResult): Stop | undefined
}

export type Stop = Reply | Pause

export type Effect =
  | { readonly kind: 'delay'; readonly ms: number; readonly flag: 'DI' }
  | ({ readonly kind: 'authorize' } & AuthorizeEffect)
  | {
      readonly kind: 'key-set'
      readonly uri: string
      readonly cluster: string
      readonly timeoutMs: number
      readonly cacheMs: number
    }

export interface BodyBuffer {
  readonly maxBytes: number
  readonly allowPartial: boolean
  readonly asBytes: boolean
}

/** A question for an external authorization service. */
export interface AuthorizeEffect {
  readonly service:
    | { readonly kind: 'grpc'; readonly cluster: string; readonly authority: string }
    | {
        readonly kind: 'http'
        readonly cluster: string
        readonly authority: string
        readonly pathPrefix: string
        readonly addHeaders: readonly (readonly [name: string, value: string])[]
        /** What the answer of the service means. */
        readonly read: (answer: HttpAnswer) => EffectResult
      }
  /** Zero: no limit. */
  readonly timeoutMs: number
  readonly body: BodyBuffer | undefined
  /** Whether the service may see a header of the request. */
  sendsHeader(name: string): boolean
  readonly contextExtensions: Readonly<Record<string, string>>
  readonly includePeerCertificate: boolean
  /** Metadata of these namespaces goes along. */
  readonly metadataNamespaces: readonly string[]
}

/** What an HTTP authorization service answered. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

/** Headers that an authorization service wants changed. */
export interface HeaderChange {
  readonly name: string
  readonly value: string
  readonly append: boolean
}

export type EffectResult =
  | { readonly kind: 'done' }
  | { readonly kind: 'key-set'; readonly keys: string | undefined }
  | {
      readonly kind: 'allowed'
      readonly requestHeaders: readonly HeaderChange[]
      readonly removeHeaders: readonly string[]
      readonly responseHeaders: readonly HeaderChange[]
      readonly metadata?: Readonly<Record<string, unknown>> | undefined
    }
  | {
      readonly kind: 'denied'
      readonly status: number
      readonly headers: readonly (readonly [name: string, value: string])[]
      readonly body: string
    }
  | { readonly kind: 'failed'; readonly reason: string }

export function reply(fields: Omit<Reply, 'kind' | 'headers' | 'body'> & Partial<Reply>): Reply {
  return { body: '', headers: [], ...fields, kind: 'reply' }
}

const grpcStatuses: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
}

/** What a client that speaks gRPC gets for an answer of the proxy: status 200, and this in `grpc-status`. */
export function grpcStatusOf({ status, grpcStatus }: Pick<Reply, 'status' | 'grpcStatus'>): number {
  return grpcStatus ?? grpcStatuses[status] ?? 2
}
