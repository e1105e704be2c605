/**
 * A stock Envoy for the pods that run on one: the project's own (`weft tools envoy`), else what the machine has. Those
 * below `/usr` the containers see anyway.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ImageMount } from './types.ts'

/** Where the agent in the pod looks first. */
const inContainer = '/opt/weft/bin/envoy'

/** @returns one mount, or none when there is no Envoy */
export function envoyMounts(programRoot: string, path: string): ImageMount[] {
  const folders = path.split(':').filter((folder) => folder.startsWith('/'))
  const host = [...pinned(programRoot), ...folders.map((folder) => join(folder, 'envoy'))].find(
    existsSync,
  )
  return host === undefined ? [] : [{ host, path: inContainer }]
}

/** The newest first; there is more than one only after an update. */
function pinned(programRoot: string): string[] {
  const tools = join(programRoot, '.tools')
  try {
    return readdirSync(tools)
      .filter((name) => /^envoy-\d/.test(name))
      .toSorted((left, right) => right.localeCompare(left, 'en', { numeric: true }))
      .map((name) => join(tools, name, 'envoy'))
  } catch {
    return []
  }
}
