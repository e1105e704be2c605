/**
 * Containers without a process: parts of the mesh that live inside init (the node agent), but are
 * pods like any other for those who look.
 */
import { Readable } from 'node:stream'
import { toError } from '../../base/index.ts'
import { containerError, LaunchError } from './errors.ts'
import type { Exit, RunningContainer } from './launcher.ts'
import type { ContainerLog } from './logs.ts'
import type { Container, Pod } from './types.ts'

/** Runs one kind of builtin container. */
export interface BuiltinRunner {
  /** Resolves when it does its work. What goes to `log` is what `kubectl logs` shows. */
  start(pod: Pod, container: Container, log: (line: string) => void): Promise<void>
  stop(pod: Pod, container: Container): Promise<void>
}

export type BuiltinRunners = Readonly<Record<string, BuiltinRunner>>

export async function startBuiltin(
  runners: BuiltinRunners,
  name: string,
  pod: Pod,
  container: Container,
  log: ContainerLog,
): Promise<RunningContainer> {
  const runner = runners[name]
  if (runner === undefined)
    throw new LaunchError(`the builtin program "${name}" is not part of this process`)
  try {
    await runner.start(pod, container, (line) =>
      log.append('stdout', Buffer.from(line.endsWith('\n') ? line : `${line}\n`)),
    )
  } catch (error) {
    throw new LaunchError(toError(error).message)
  }
  const { promise, resolve } = Promise.withResolvers<Exit>()
  let stopping: Promise<void> | undefined
  const stop = (code: number): void => {
    stopping ??= runner
      .stop(pod, container)
      .catch(() => {})
      .then(() => resolve({ code, signal: undefined }))
  }
  return {
    exit: promise,
    signal: () => stop(0),
    kill: () => stop(137),
    exec: () =>
      Promise.reject(
        containerError(
          'CONTAINER_ENDED',
          `container "${container.name}" is part of the mesh's own process; nothing can be executed in it`,
        ),
      ),
    stdin: undefined,
    stdout: Readable.from([]),
    stderr: undefined,
    resize: () => {},
    terminationMessage: async () => '',
  }
}
