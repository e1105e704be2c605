/**
 * For tests: the vmagent of Debian's package victoria-metrics, unmodified: a second program that discovers
 * targets by Prometheus' `kubernetes_sd_configs`. Debian builds Prometheus itself without that discovery. It is
 * unpacked into `.tools` rather than installed, because its package would start servers on this machine.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const tools = resolve(import.meta.dirname, '../.tools')
const home = join(tools, 'victoria-metrics')
const unpacked = join(home, 'usr/bin/vmagent')

/** The path of a vmagent that is there already. */
export function installedVmagent(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return [unpacked, ...folders.map((folder) => join(folder, 'vmagent'))].find(existsSync)
}

/** Fetches it when it is not there. Rejects where there is no apt. */
export async function vmagentPath(): Promise<string> {
  const installed = installedVmagent()
  if (installed !== undefined) return installed
  await mkdir(tools, { recursive: true })
  const temporary = await mkdtemp(join(tools, 'download-'))
  try {
    process.stderr.write('fetching vmagent of Debian, once (23 MB) ...\n')
    const download = (): Promise<unknown> =>
      run('apt-get', ['download', 'victoria-metrics'], { cwd: temporary })
    await download().catch(async () => {
      // Its lists may be missing or too old.
      await run('apt-get', ['update', '-q'])
      await download()
    })
    const archive = (await readdir(temporary)).find((name) => name.endsWith('.deb')) ?? ''
    await run('dpkg-deb', ['-x', join(temporary, archive), join(temporary, 'unpacked')])
    await rename(join(temporary, 'unpacked'), home)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return unpacked
}
