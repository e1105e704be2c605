/**
 * What the registry asks of whoever runs the pods (in standalone: the runtime in the same process).
 * The registry owns the wire dialects (WebSocket, SPDY, channels); the backend moves bytes.
 */
import type { Duplex, Readable } from 'node:stream'

export interface PodReference {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface LogOptions {
  readonly container: string
  readonly follow: boolean
  readonly previous: boolean
  readonly timestamps: boolean
  readonly tailLines?: number
  readonly sinceSeconds?: number
  readonly sinceTime?: string
  readonly limitBytes?: number
}

export interface ExecOptions {
  readonly container: string
  readonly command: readonly string[]
  readonly stdin: boolean
  readonly tty: boolean
}

/** A running command. `stdin` is absent unless asked for; with a tty everything is on `stdout`. */
export interface ExecSession {
  readonly stdin: NodeJS.WritableStream | undefined
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  resize(columns: number, rows: number): void
  /** Exit code, after both outputs ended. */
  readonly exitCode: Promise<number>
  kill(): void
}

/** What a container or the node uses: an average over a window, and the present memory. */
export interface ResourceUsage {
  /** Billionths of a processor core. */
  readonly cpuNanoCores: number
  readonly memoryBytes: number
}

export interface UsageReport {
  /** The end of the window, in milliseconds since 1970. */
  readonly atMs: number
  readonly windowMs: number
  readonly nodes: ReadonlyMap<string, ResourceUsage>
  /** By the pod's uid, then by container. */
  readonly pods: ReadonlyMap<string, ReadonlyMap<string, ResourceUsage>>
}

/** Failures reject with a MeshError whose code says which Status fits (see registry/errors.ts). */
export interface PodBackend {
  /** Raw log text. Ends at the end of the file, or when the container ends if `follow`. */
  logs(pod: PodReference, options: LogOptions): Promise<Readable>
  exec(pod: PodReference, options: ExecOptions): Promise<ExecSession>
  /** The container's own standard streams. */
  attach(pod: PodReference, options: Omit<ExecOptions, 'command'>): Promise<ExecSession>
  /** A connection to `localhost:port` inside the pod's network namespace. */
  portForward(pod: PodReference, port: number): Promise<Duplex>
  /** Measures everything at once. Absent: `metrics.k8s.io` is not served. */
  usage?(): Promise<UsageReport>
}
