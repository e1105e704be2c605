/**
 * The tree: `unshare` makes the namespaces, a shell is PID 1 there and reaps what is orphaned
 * (libuv waits for its own children only), and our init is its child, on an IPC channel that is
 * inherited through both. Ending any of them ends the whole tree.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Server, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Logger } from '../../base/index.ts'
import { frugal } from '../images/frugal.ts'
import type { BrokerToInit, InitToBroker } from './protocol.ts'

export const initEntry = fileURLToPath(new URL('../init/main.ts', import.meta.url))

export interface InitProcessOptions {
  readonly mode: 'root' | 'rootless'
  /** Descriptor for its output. */
  readonly logFd: number
  readonly logger: Logger
  readonly onMessage: (message: InitToBroker) => void
  readonly onExit: (description: string) => void
  /** Tests put another program here. */
  readonly entry?: string
}

/** The command line of the tree, without the program in it. */
export function treeCommand(mode: 'root' | 'rootless'): string[] {
  return [
    'setpriv',
    '--pdeathsig',
    'KILL',
    'unshare',
    ...(mode === 'rootless' ? ['--user', '--map-root-user'] : []),
    '--net',
    '--mount',
    '--pid',
    '--fork',
    '--mount-proc',
    '--kill-child',
    'sh',
    '-c',
    '"$@" & wait "$!"',
    'weft-reaper',
  ]
}

export class InitProcess {
  readonly #child: ChildProcess
  #ended = false

  constructor(options: InitProcessOptions) {
    const [program = '', ...prefix] = treeCommand(options.mode)
    const node = [
      process.execPath,
      ...process.execArgv,
      ...frugal.flags,
      options.entry ?? initEntry,
    ]
    this.#child = spawn(program, [...prefix, ...node], {
      cwd: '/',
      env: { ...process.env, ...frugal.env },
      stdio: ['ignore', options.logFd, options.logFd, 'ipc'],
      serialization: 'advanced',
    })
    // The channel carries only what our own init sends.
    this.#child.on('message', (message) => options.onMessage(message as InitToBroker))
    const ended = (description: string): void => {
      if (this.#ended) return
      this.#ended = true
      options.onExit(description)
    }
    this.#child.once('error', (error) => ended(`could not be started: ${error.message}`))
    this.#child.once('exit', (code, signal) => {
      ended(signal === null ? `ended with code ${code}` : `was ended by ${signal}`)
    })
    // Init gone but a child of it holding on: nothing in the tree is of use any more.
    this.#child.once('disconnect', () => this.kill())
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Sends a message and perhaps a handle; false when init is gone. */
  send(message: BrokerToInit, handle?: Server | Socket): boolean {
    if (this.#ended || !this.#child.connected) return false
    this.#child.send(message, handle, {}, () => {})
    return true
  }

  /** Ends `unshare`, with which the kernel ends everything in the tree. */
  kill(): void {
    if (!this.#ended) this.#child.kill('SIGKILL')
  }
}
