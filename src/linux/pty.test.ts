import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { ReadStream } from 'node:tty'
import { openPty, setTerminalSize } from './index.ts'

const skip = existsSync('/dev/ptmx') ? false : 'this machine has no /dev/ptmx'

test('a child on a pseudo terminal sees a terminal of the given size', { skip }, async () => {
  const { controllerFd, terminalFd } = openPty()
  setTerminalSize(controllerFd, 101, 42)
  const script = 'test -t 0 && test -t 1 && stty size'
  const child = spawn('sh', ['-c', script], { stdio: [terminalFd, 'pipe', 'inherit'] })
  assert.ok(child.stdout)
  const onPipe = text(child.stdout)
  await new Promise((resolve) => child.once('close', resolve))
  assert.equal(await onPipe, '', 'the standard output of this one is a pipe')
  const other = spawn('sh', ['-c', script], { stdio: [terminalFd, terminalFd, 'inherit'] })
  closeSync(terminalFd)
  const stream = new ReadStream(controllerFd)
  let shown = ''
  stream.on('data', (chunk: Buffer) => (shown += chunk.toString()))
  stream.on('error', () => {})
  await Promise.all([
    new Promise((resolve) => other.once('close', resolve)),
    new Promise((resolve) => stream.once('close', resolve)),
  ])
  assert.equal(shown, '42 101\r\n')
})

test('a path that is no terminal multiplexer is refused', () => {
  assert.throws(() => openPty('/dev/null'), /TIOCSPTLCK of \/dev\/null/)
})
