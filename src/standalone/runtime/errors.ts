/** What can go wrong while running pods. Messages become pod events: they name the field and the fix. */
import { MeshError } from '../../base/index.ts'

/** The container can't be started as configured; it is tried again. `reason` is its waiting reason. */
export class ContainerConfigError extends MeshError {
  readonly reason: string

  constructor(reason: string, message: string) {
    super('RUNTIME_CONTAINER_CONFIG', message, { retryable: true })
    this.reason = reason
  }
}

/** The launcher or the container's command failed before the command ran. */
export class LaunchError extends MeshError {
  constructor(message: string) {
    super('RUNTIME_LAUNCH', message, { retryable: true })
  }
}

export function volumeError(volume: string, problem: string, hint?: string): MeshError {
  return new MeshError('RUNTIME_VOLUME', `volume "${volume}": ${problem}`, {
    retryable: true,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** The registry makes a 404 of this. */
export function podNotHere(namespace: string, name: string): MeshError {
  return new MeshError(
    'POD_NOT_FOUND',
    `pods "${name}" not found in namespace "${namespace}" on this node`,
  )
}

/** What a client asks of a container that can't be; the registry makes a 400 of these. */
export type ContainerProblem =
  | 'CONTAINER_NOT_FOUND'
  | 'CONTAINER_WAITING'
  | 'CONTAINER_ENDED'
  | 'NO_PREVIOUS_LOG'

export function containerError(problem: ContainerProblem, message: string): MeshError {
  return new MeshError(`POD_${problem}`, message)
}
