/**
 * Ports for servers that tests start. Below the range from which the kernel takes the ports of outgoing connections
 * (32768 and up): a port from there can be gone again before the server under test listens on it.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'

const first = 20_000
const count = 12_000
const given = new Set<number>()

/** A TCP port of 127.0.0.1 where nobody listens, never the same twice in one process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * count)
    if (given.has(port)) continue
    given.add(port)
    const server = createServer()
    try {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    } catch {
      continue
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
