/** Listening on the host's loopback, and naming who is in the way. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { errnoOf, MeshError, toError } from '../../base/index.ts'
import { userName } from '../state/users.ts'

/** The only address of the host that a mesh ever listens on. */
export const loopback = '127.0.0.1'

/**
 * A server on 127.0.0.1. Connections are held (paused) for whoever takes the handle over.
 * @param port 0 lets the system choose
 * @param flag the option that changes this port, for the error
 */
export function listenOnLoopback(port: number, flag: string | undefined): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
    server.once('error', (error) => reject(listenError(port, flag, error)))
    server.listen(port, loopback, () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      resolve(server)
    })
  })
}

function listenError(port: number, flag: string | undefined, error: Error): MeshError {
  const hint =
    flag === undefined ? {} : { hint: `Stop it, or choose another port with ${flag} PORT.` }
  if (errnoOf(error) === 'EADDRINUSE') {
    return new MeshError('BROKER_PORT_IN_USE', `port ${port} is taken by ${portOwner(port)}`, hint)
  }
  if (errnoOf(error) === 'EACCES') {
    return new MeshError('BROKER_PORT_DENIED', `you may not listen on port ${port}`, {
      hint: `Ports below 1024 need root; choose a higher one with ${flag ?? 'another port'} PORT.`,
    })
  }
  return new MeshError(
    'BROKER_PORT',
    `can't listen on ${loopback}:${port}: ${toError(error).message}`,
    hint,
  )
}

/** Who listens on a TCP port of this host, as far as this user may see it. */
export function portOwner(port: number, procFolder = '/proc'): string {
  const found = listeningSocket(port, procFolder)
  if (found === undefined) return 'another process'
  const process = processOfSocket(found.inode, procFolder)
  const user = userName(found.uid)
  return process === undefined ? `a process of ${user}` : `${process} of ${user}`
}

function listeningSocket(
  port: number,
  procFolder: string,
): { uid: number; inode: string } | undefined {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  for (const table of ['tcp', 'tcp6']) {
    let text: string
    try {
      text = readFileSync(`${procFolder}/net/${table}`, 'utf8')
    } catch {
      continue
    }
    for (const line of text.split('\n').slice(1)) {
      const [, local, , state, , , , uid, , inode] = line.trim().split(/\s+/)
      if (state !== '0A' || local === undefined || inode === undefined) continue
      const [address = '', localPort] = local.split(':')
      // Loopback or unspecified, in the byte order of the table, IPv4 or mapped or IPv6.
      if (localPort === hexPort && /^(0100007F|0+|0{16}FFFF00000100007F)$/.test(address)) {
        return { uid: Number(uid), inode }
      }
    }
  }
  return undefined
}

function processOfSocket(inode: string, procFolder: string): string | undefined {
  for (const pid of readdirSync(procFolder)) {
    if (!/^\d+$/.test(pid)) continue
    let files: string[]
    try {
      files = readdirSync(`${procFolder}/${pid}/fd`)
    } catch {
      continue // Another user's process, or one that just ended.
    }
    for (const file of files) {
      try {
        if (readlinkSync(`${procFolder}/${pid}/fd/${file}`) !== `socket:[${inode}]`) continue
        const name = readFileSync(`${procFolder}/${pid}/comm`, 'utf8').trim()
        return `${name} (process ${pid})`
      } catch {
        // The descriptor or the process went away while we looked.
      }
    }
  }
  return undefined
}
