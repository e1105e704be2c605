/** The errors of this room. */
import { MeshError } from '../base/index.ts'

export function unavailable(identity: string, reason: string, cause?: unknown): MeshError {
  return new MeshError(
    'IDENTITY_UNAVAILABLE',
    `there is no certificate for ${identity}: ${reason}`,
    {
      hint: 'It is tried again by itself; the log of istiod says why it was refused.',
      cause,
      retryable: true,
    },
  )
}

export function wrongAnswer(identity: string, detail: string): MeshError {
  return new MeshError(
    'IDENTITY_WRONG_ANSWER',
    `the certificate issued for ${identity} is refused: ${detail}`,
    {
      hint: 'Is CA_ADDRESS the authority of this mesh?',
    },
  )
}

export function wrongPeer(detail: string): MeshError {
  return new MeshError('IDENTITY_WRONG_PEER', `the peer's certificate is refused: ${detail}`)
}
