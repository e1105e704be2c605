/** Finds a stock Envoy: where the image has put it, else in the PATH. */
import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { envoyMissing } from './errors.ts'

/** Where containers of standalone mode see the project's own Envoy. */
const imagePath = '/opt/weft/bin/envoy'

/** @returns the path of an executable file */
export function locateEnvoy(environment: Readonly<Record<string, string | undefined>>): string {
  const { ENVOY_PATH: named, PATH: path = '' } = environment
  const folders = path.split(':').filter((folder) => folder.startsWith('/'))
  const candidates =
    named === undefined || named === ''
      ? [imagePath, ...folders.map((folder) => join(folder, 'envoy'))]
      : [named]
  const found = candidates.find(isProgram)
  if (found !== undefined) return found
  throw envoyMissing(
    named === undefined || named === '' ? [imagePath, `"envoy" in ${path}`] : [named],
  )
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
