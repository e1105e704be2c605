/**
 * One broker per mesh name on a machine: an abstract unix socket is the lock, so that the kernel
 * lets go of it however the broker ends. It answers who holds it.
 */
import { createConnection, createServer, type Server } from 'node:net'
import { errnoOf, MeshError } from '../../base/index.ts'
import { userName } from '../state/users.ts'

export interface LockHolder {
  readonly pid: number
  readonly uid: number
  readonly stateDirectory: string
}

function lockName(name: string): string {
  return `\0weft/mesh/${name}`
}

/** Takes the lock for the life of this process, or rejects naming the holder. */
export async function takeLock(name: string, holder: LockHolder): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(`${JSON.stringify(holder)}\n`)
  })
  const error = await new Promise<Error | undefined>((resolve) => {
    server.once('error', resolve)
    server.listen({ path: lockName(name) }, () => resolve(undefined))
  })
  if (error === undefined) return server
  if (errnoOf(error) !== 'EADDRINUSE') throw error
  throw heldError(name, await lockHolder(name))
}

/** Who holds the lock of that name; undefined when nobody does or the holder is silent. */
export function lockHolder(name: string): Promise<LockHolder | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = createConnection({ path: lockName(name) })
    socket.setTimeout(1_000, () => socket.destroy())
    socket.on('data', (chunk) => (text += chunk.toString().slice(0, 10_000)))
    socket.on('error', () => {})
    socket.on('close', () => {
      try {
        const value = JSON.parse(text) as Partial<LockHolder>
        const { pid, uid, stateDirectory } = value
        resolve(
          Number.isInteger(pid) && Number.isInteger(uid) && typeof stateDirectory === 'string'
            ? { pid: Number(pid), uid: Number(uid), stateDirectory }
            : undefined,
        )
      } catch {
        resolve(undefined)
      }
    })
  })
}

/** The error of a second start. */
export function heldError(name: string, holder: LockHolder | undefined): MeshError {
  const who =
    holder === undefined ? 'another process' : `process ${holder.pid} of ${userName(holder.uid)}`
  const where = holder === undefined ? '' : ` (state in ${holder.stateDirectory})`
  return new MeshError('BROKER_NAME_TAKEN', `the mesh "${name}" is already run by ${who}${where}`, {
    hint: `Choose another name with --name, or stop that one with "weft down --name ${name}" as its user.`,
  })
}
