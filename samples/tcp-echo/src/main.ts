/**
 * A line echo over TCP: `main.ts 9000 hello` answers `x` with `hello x`. Several ports: `9000,9001`.
 * With the greeting `--banner TEXT` the server speaks first, like SMTP or MySQL.
 */
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [ports = '9000', prefix = 'hello', bannerFlag, banner] = process.argv.slice(2)

for (const port of ports.split(',').map(Number)) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (bannerFlag === '--banner') socket.write(`${banner}\n`)
    const lines = createInterface({ input: socket })
    lines.on('line', (line) => socket.write(`${prefix} ${line}\n`))
    lines.on('close', () => socket.end())
    socket.on('error', () => socket.destroy())
  })
  server.listen(port, () => console.log(`listening on [::]:${port}, prefix: ${prefix}`))
}
process.once('SIGTERM', () => process.exit(0))
