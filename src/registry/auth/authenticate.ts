/** Finds out who makes a request: a client certificate of our authority, or a ServiceAccount token. */
import type { Http2ServerRequest, Http2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { unauthorized } from '../../kube/index.ts'
import type { Request } from '../http/exchange.ts'
import { issuer, type Tokens } from './tokens.ts'
import { anonymous, authenticatedGroup, type User } from './user.ts'

/** A connection's certificate doesn't change, so it is read once. `null`: a certificate, but not one of ours. */
const ofConnection = new WeakMap<object, User | null | undefined>()

export class Authenticator {
  readonly #tokens: Tokens

  constructor(tokens: Tokens) {
    this.#tokens = tokens
  }

  /** Throws 401 for credentials that are no good; without any, the user is anonymous. */
  async authenticate(request: Request): Promise<User> {
    const byCertificate = certificateUser(request)
    if (byCertificate === null) {
      throw unauthorized(
        'Unauthorized: the client certificate was not issued by this registry, or has expired',
      )
    }
    if (byCertificate !== undefined) return byCertificate
    const { authorization } = request.headers
    const token = authorization?.match(/^bearer\s+(\S+)$/i)?.[1] ?? webSocketToken(request)
    if (token === undefined) {
      if (authorization !== undefined) throw unauthorized()
      return anonymous
    }
    const verified = await this.#tokens.verify(token)
    if ('refused' in verified) throw unauthorized(`Unauthorized: ${verified.refused}`)
    if (!verified.audiences.includes(issuer)) {
      throw unauthorized('Unauthorized: the token is meant for another audience than this server')
    }
    return verified.user
  }
}

/** Browsers can't set headers on WebSockets and send the token as a subprotocol. */
function webSocketToken(request: Request): string | undefined {
  const header = request.headers['sec-websocket-protocol']
  const encoded = header?.match(/base64url\.bearer\.authorization\.k8s\.io\.([\w-]+)/)?.[1]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url').toString()
}

function certificateUser(request: Request): User | null | undefined {
  const session = (request as Partial<Http2ServerRequest>).stream?.session as
    | Http2Session
    | undefined
  const key: object = session ?? request.socket
  if (!ofConnection.has(key)) {
    const socket = (session === undefined ? request.socket : session.socket) as TLSSocket
    ofConnection.set(key, readCertificate(socket))
  }
  return ofConnection.get(key)
}

function readCertificate(socket: TLSSocket): User | null | undefined {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  // `authorized` is also false without a certificate; here there is one, so false means a bad one.
  if (!socket.authorized) return null
  const subject = certificate.toLegacyObject().subject as unknown as Record<
    string,
    string | string[] | undefined
  >
  const { CN: name, O: organisations = [] } = subject
  if (typeof name !== 'string' || name === '') return null
  const groups = typeof organisations === 'string' ? [organisations] : organisations
  return { username: name, groups: [...groups, authenticatedGroup], extra: {} }
}
