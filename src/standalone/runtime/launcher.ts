/** What starts a container's process; the worker knows only this, so that tests need no namespaces. */
import type { Readable } from 'node:stream'
import type { ExecSession } from '../../registry/index.ts'
import type { VolumeBinding } from './launch-script.ts'
import type { ContainerLog } from './logs.ts'
import type { Identity } from './security.ts'

export interface LaunchRequest {
  readonly podUid: string
  readonly containerName: string
  readonly attempt: number
  readonly hostname: string
  /** Absent: the node's own network namespace. */
  readonly netnsFd: number | undefined
  readonly command: readonly string[]
  readonly env: ReadonlyMap<string, string>
  readonly workingDir: string
  readonly volumes: readonly VolumeBinding[]
  readonly resolvConf: string
  readonly hosts: string
  readonly identity: Identity
  readonly seesRunDir: boolean
  readonly stdin: boolean
  readonly tty: boolean
  readonly terminationMessagePath: string
  readonly log: ContainerLog
}

export interface Exit {
  readonly code: number
  readonly signal: number | undefined
}

/** A command that runs in a container, or the container itself. */
export interface RunningContainer {
  /** PID 1 of the container as seen from outside; absent where there is no process of its own. */
  readonly pid?: number | undefined
  /** Resolves when the process and its output have ended. */
  readonly exit: Promise<Exit>
  /** Asks the command to end. */
  signal(name: NodeJS.Signals): void
  /** Ends everything in the container at once. */
  kill(): void
  exec(request: ExecRequest): Promise<ExecSession>
  readonly stdin: NodeJS.WritableStream | undefined
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  /** Of its terminal; nothing happens without one. */
  resize(columns: number, rows: number): void
  /** Up to 4096 bytes which the command left at its terminationMessagePath. */
  terminationMessage(): Promise<string>
}

export interface ExecRequest {
  readonly command: readonly string[]
  readonly stdin: boolean
  readonly tty: boolean
}

export interface ContainerLauncher {
  /** Rejects with a LaunchError when the command could not be started. */
  launch(request: LaunchRequest): Promise<RunningContainer>
}
