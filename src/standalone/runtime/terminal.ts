/**
 * The terminal of a container or of a command in it (`tty: true`): a pair of the container's own devpts, so that
 * `tty` and `/dev/pts/0` mean something inside. We hold the end that types and reads.
 */
import { closeSync, fchownSync } from 'node:fs'
import { PassThrough, Writable } from 'node:stream'
import { ReadStream } from 'node:tty'
import { openPty, setTerminalSize } from '../../linux/index.ts'

/** What a user types to end the input (VEOF). */
const endOfInput = '\x04'
const newline = 10

export class Terminal {
  /** What the programs on it show; ends with the last of them. */
  readonly output = new PassThrough()
  /** What they read. Its end is typed, as a user would: a terminal has no other. */
  readonly input: Writable
  #stream: ReadStream | undefined
  #controllerFd: number | undefined
  #terminalFd: number | undefined
  #lastTyped = newline

  constructor() {
    this.input = new Writable({
      write: (chunk: Buffer, _encoding, callback) => {
        this.#lastTyped = chunk.at(-1) ?? this.#lastTyped
        this.#type(chunk, callback)
      },
      // In the middle of a line the first one only hands over what is there.
      final: (callback) =>
        this.#type(
          this.#lastTyped === newline ? endOfInput : `${endOfInput}${endOfInput}`,
          callback,
        ),
    })
    this.input.on('error', () => {})
    this.output.on('error', () => {})
  }

  /**
   * Makes the pair in the devpts of this container, which is seen through its first process.
   * @returns its number there
   */
  open(pid: number, owner: { readonly uid: number; readonly gid: number } | undefined): number {
    const { controllerFd, terminalFd, number } = openPty(`/proc/${pid}/root/dev/pts/ptmx`)
    this.#terminalFd = terminalFd
    this.#controllerFd = controllerFd
    // Programs open it again by name.
    if (owner !== undefined) fchownSync(terminalFd, owner.uid, owner.gid)
    const stream = new ReadStream(controllerFd)
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => {
      if (this.output.write(chunk)) return
      stream.pause()
      this.output.once('drain', () => stream.resume())
    })
    // EIO is how a terminal says that nobody has it open any more.
    stream.on('error', () => {})
    stream.once('close', () => {
      this.#controllerFd = undefined
      this.output.end()
    })
    this.output.once('close', () => this.close())
    return number
  }

  /** For a child's standard streams, until `release`. */
  get childFd(): number {
    if (this.#terminalFd === undefined) throw new Error('the terminal is not open')
    return this.#terminalFd
  }

  /** Once the programs have it open: from now on their last close ends the output. */
  release(): void {
    if (this.#terminalFd !== undefined) closeSync(this.#terminalFd)
    this.#terminalFd = undefined
  }

  resize(columns: number, rows: number): void {
    if (this.#controllerFd === undefined || !isSize(columns) || !isSize(rows)) return
    setTerminalSize(this.#controllerFd, columns, rows)
  }

  /** Hangs up: the programs on it get SIGHUP. */
  close(): void {
    this.release()
    if (this.#stream === undefined) this.output.end()
    this.#stream?.destroy()
  }

  #type(text: Buffer | string, callback: (error?: Error | null) => void): void {
    const stream = this.#stream
    if (stream === undefined || stream.destroyed) callback(new Error('the terminal is closed'))
    else stream.write(text, callback)
  }
}

function isSize(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 0xffff
}
