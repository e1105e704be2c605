/** The online backup: the store makes a consistent copy beside the database, and the answer is that file. */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Exchange } from './exchange.ts'

/** Not a path of Kubernetes: only administrators, and whom a role names this path to, may read it. */
export const backupPath = '/weft/backup'

export interface BackupsOptions {
  /** The state directory; copies lie there while they are sent. */
  readonly dir: string
  /** Writes a consistent copy to a new file. */
  make(path: string): Promise<void>
}

export class Backups {
  readonly #options: BackupsOptions

  constructor(options: BackupsOptions) {
    this.#options = options
  }

  /** Removes copies that a crash has left. */
  async clean(): Promise<void> {
    const { dir } = this.#options
    for (const name of await readdir(dir)) {
      if (/^backup-.*\.tmp$/.test(name)) await rm(join(dir, name), { force: true })
    }
  }

  async answer(exchange: Exchange): Promise<void> {
    const path = join(this.#options.dir, `backup-${randomUUID()}.tmp`)
    try {
      await this.#options.make(path)
      const { size } = await stat(path)
      exchange.head(200, {
        'content-type': 'application/vnd.sqlite3',
        'content-length': String(size),
      })
      if (exchange.method !== 'HEAD') {
        for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
          if (!(await exchange.write(chunk))) return
        }
      }
      exchange.response.end()
    } finally {
      await rm(path, { force: true })
    }
  }
}
