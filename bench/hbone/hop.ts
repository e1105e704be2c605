/**
 * One hop of the bench, a process of its own so that its CPU can be read from /proc:
 *   hop.ts client <hbone|tcp> <listen> <connect>   |   hop.ts server <hbone|tcp> <listen> <connect>
 * The pair is what two node proxies do to a byte, without policies, logs and metrics.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { systemClock } from '../../src/base/index.ts'
import { HboneClientPool, type RelayEnd, relay, reset, serveHbone } from '../../src/hbone/index.ts'
import {
  tlsClientOptions,
  tlsServerOptions,
  type WorkloadCertificate,
} from '../../src/identity/index.ts'

const [role, kind, listen, connect, certificateFile = ''] = process.argv.slice(2)
const target = { port: Number(connect), host: '127.0.0.1', noDelay: true }
const certificate =
  kind === 'hbone'
    ? (JSON.parse(readFileSync(certificateFile, 'utf8')) as WorkloadCertificate)
    : undefined

async function dial(allowHalfOpen: boolean): Promise<net.Socket> {
  const socket = net.connect({ ...target, allowHalfOpen })
  await once(socket, 'connect')
  return socket
}

const nothing = (): void => {}

function carry(client: RelayEnd, server: RelayEnd): void {
  relay({ client, server, onForward: nothing, onBackward: nothing }).catch(nothing)
}

function startClient(): void {
  const pool = new HboneClientPool({ clock: systemClock })
  const open = async (): Promise<RelayEnd> => {
    if (certificate === undefined) return dial(true)
    const openTls = async (): Promise<Duplex> => {
      const socket = await dial(false)
      const options = tlsClientOptions(certificate, new Set([certificate.identity]))
      const secure = tls.connect({ socket, ...options })
      await once(secure, 'secureConnect')
      return secure
    }
    return pool.connect({ key: 'k', openTls, authority: '10.0.0.1:80' })
  }
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', nothing)
    open().then(
      (upstream) => carry(socket, upstream),
      () => reset(socket),
    )
  })
  server.listen(Number(listen), '127.0.0.1')
}

function startServer(): void {
  const plain = net.createServer(
    { allowHalfOpen: certificate === undefined, noDelay: true },
    (socket) => {
      socket.on('error', nothing)
      if (certificate === undefined) {
        dial(true).then(
          (upstream) => carry(socket, upstream),
          () => reset(socket),
        )
      } else secure?.emit('connection', socket)
    },
  )
  const secure = certificate && tls.createServer(tlsServerOptions(certificate))
  secure?.on('secureConnection', (socket) => {
    serveHbone(socket, {
      clock: systemClock,
      onRequest: (request) => {
        dial(true).then(
          (upstream) => carry(request.accept(), upstream),
          () => request.reject(503),
        )
      },
    })
  })
  plain.listen(Number(listen), '127.0.0.1')
}

if (role === 'client') startClient()
else startServer()
