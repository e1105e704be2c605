/**
 * The volumes of one pod: folders which containers mount. What comes from the API lives in memory
 * (the run directory) and is kept true; emptyDir lives in the state directory and survives restarts.
 */
import { chmod, chown, mkdir, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from '../../base/index.ts'
import { toError } from '../../base/index.ts'
import { quantityToNumber } from '../../kube/index.ts'
import { volumeError } from './errors.ts'
import { fieldText, type PodAddresses, resourceText } from './fields.ts'
import { limits } from './limits.ts'
import { makeMemoryFolder } from './memory-folder.ts'
import { type Owner, type Payload, type PayloadFile, PayloadWriter } from './payload.ts'
import type { PodTokens } from './tokens.ts'
import {
  type Container,
  type DataObject,
  type DownwardItem,
  namespaceOf,
  type ObjectVolume,
  type Pod,
  specOf,
  type Volume,
} from './types.ts'

export interface VolumeSources {
  configMap(namespace: string, name: string): Promise<DataObject | undefined>
  secret(namespace: string, name: string): Promise<DataObject | undefined>
}

export interface PodVolumesOptions {
  readonly pod: Pod
  readonly sources: VolumeSources
  readonly tokens: PodTokens
  readonly addresses: () => PodAddresses
  /** In memory; removed with the pod. */
  readonly runFolder: string
  readonly stateFolder: string
  readonly owner: Owner | undefined
  /** hostPath volumes must lie below one of these. */
  readonly allowHostPaths: readonly string[]
  readonly logger: Logger
}

export interface PreparedVolume {
  readonly hostPath: string
  /** API-backed volumes are read-only for containers whatever the mount says. */
  readonly readOnly: boolean
}

type Files = Map<string, PayloadFile>

const defaultMode = 0o644

export class PodVolumes {
  readonly #options: PodVolumesOptions
  readonly #writers = new Map<string, PayloadWriter>()
  readonly #prepared = new Map<string, PreparedVolume>()
  #pod: Pod

  constructor(options: PodVolumesOptions) {
    this.#options = options
    this.#pod = options.pod
  }

  /** Makes all volumes; rejects with the first that can't be made (it is tried again). */
  async prepare(): Promise<ReadonlyMap<string, PreparedVolume>> {
    for (const volume of specOf(this.#pod).volumes ?? []) {
      if (!this.#prepared.has(volume.name)) {
        this.#prepared.set(volume.name, await this.#make(volume))
      }
    }
    return this.#prepared
  }

  /** Writes again what changed in the API, and renews tokens. Failures are logged; the old stays. */
  async refresh(pod: Pod): Promise<void> {
    this.#pod = pod
    for (const volume of specOf(pod).volumes ?? []) {
      const writer = this.#writers.get(volume.name)
      if (writer === undefined) continue
      try {
        const payload = await this.#payload(volume)
        if (payload !== undefined) await writer.write(payload)
      } catch (error) {
        this.#options.logger.warn('a volume could not be brought up to date', {
          pod: pod.metadata.name,
          volume: volume.name,
          error: toError(error).message,
        })
      }
    }
  }

  async #make(volume: Volume): Promise<PreparedVolume> {
    const { runFolder, stateFolder, owner } = this.#options
    if (volume.emptyDir !== undefined) {
      const { medium, sizeLimit } = volume.emptyDir
      const memory = medium === 'Memory'
      const hostPath = join(memory ? runFolder : stateFolder, 'volumes', volume.name)
      const bytes = sizeLimit === undefined ? limits.memoryVolumeBytes : quantityToNumber(sizeLimit)
      if (memory) makeMemoryFolder(hostPath, bytes)
      else await mkdir(hostPath, { recursive: true })
      await chmod(hostPath, 0o777)
      if (owner !== undefined) await chown(hostPath, owner.uid, owner.gid)
      return { hostPath, readOnly: false }
    }
    if (volume.hostPath !== undefined) return this.#hostPath(volume, volume.hostPath)
    const payload = await this.#payload(volume)
    if (payload === undefined) {
      const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'unknown'
      throw volumeError(
        volume.name,
        `the kind "${kind}" is not supported`,
        'Standalone mode has configMap, secret, projected, downwardAPI, emptyDir and hostPath.',
      )
    }
    const hostPath = join(runFolder, 'volumes', volume.name)
    const writer = new PayloadWriter(hostPath, owner)
    await mkdir(hostPath, { recursive: true, mode: 0o755 })
    await writer.write(payload)
    this.#writers.set(volume.name, writer)
    return { hostPath, readOnly: true }
  }

  async #hostPath(
    volume: Volume,
    source: { path: string; type?: string },
  ): Promise<PreparedVolume> {
    const { allowHostPaths } = this.#options
    const { path, type = '' } = source
    const allowed = (candidate: string): boolean =>
      allowHostPaths.some(
        (prefix) => candidate === prefix || candidate.startsWith(`${prefix.replace(/\/$/, '')}/`),
      )
    const refuse = (why: string): Error =>
      volumeError(
        volume.name,
        `hostPath ${path} ${why}`,
        `Allow it with "weft up --allow-host-path ${path}".`,
      )
    if (!allowed(path)) throw refuse('is not below an allowed prefix')
    if (type === 'DirectoryOrCreate' && allowed(await realpath(dirname(path)).catch(() => ''))) {
      await mkdir(path, { recursive: true })
    }
    // A link below the prefix must not lead out of it.
    const hostPath = await realpath(path).catch(() => undefined)
    if (hostPath === undefined) throw volumeError(volume.name, `hostPath ${path} does not exist`)
    if (!allowed(hostPath))
      throw refuse(`is a link to ${hostPath}, which is not below an allowed prefix`)
    const found = await stat(hostPath)
    if ((type === 'Directory' && !found.isDirectory()) || (type === 'File' && !found.isFile())) {
      throw volumeError(volume.name, `hostPath ${path} is no ${type}`)
    }
    return { hostPath, readOnly: false }
  }

  /** The files of an API-backed volume; undefined when it is of another kind. */
  async #payload(volume: Volume): Promise<Payload | undefined> {
    const files: Files = new Map()
    const { configMap, secret, downwardAPI, projected } = volume
    if (configMap !== undefined) {
      await this.#addObject(files, 'configMap', configMap, configMap.defaultMode ?? defaultMode)
    } else if (secret !== undefined) {
      const { secretName, ...rest } = secret
      const source = secretName === undefined ? rest : { ...rest, name: secretName }
      await this.#addObject(files, 'secret', source, secret.defaultMode ?? defaultMode)
    } else if (downwardAPI !== undefined) {
      this.#addFields(files, downwardAPI.items ?? [], downwardAPI.defaultMode ?? defaultMode)
    } else if (projected !== undefined) {
      const mode = projected.defaultMode ?? defaultMode
      for (const source of projected.sources ?? []) {
        if (source.configMap) await this.#addObject(files, 'configMap', source.configMap, mode)
        if (source.secret) await this.#addObject(files, 'secret', source.secret, mode)
        if (source.downwardAPI) this.#addFields(files, source.downwardAPI.items ?? [], mode)
        const token = source.serviceAccountToken
        if (token !== undefined) {
          const text = await this.#options.tokens.get(this.#pod, token)
          files.set(token.path, { content: Buffer.from(text), mode: 0o600 })
        }
      }
    } else return undefined
    return files
  }

  async #addObject(
    files: Files,
    kind: 'configMap' | 'secret',
    source: ObjectVolume,
    mode: number,
  ): Promise<void> {
    const { name = '', items, optional } = source
    const object = await this.#options.sources[kind](namespaceOf(this.#pod), name)
    if (object === undefined) {
      if (optional === true) return
      throw volumeError(name, `${kind.toLowerCase()} "${name}" not found`)
    }
    const content = contentOf(object, kind === 'secret')
    const wanted = items ?? [...content.keys()].map((key) => ({ key, path: key, mode }))
    for (const item of wanted) {
      const value = content.get(item.key)
      if (value === undefined && optional === true) continue
      if (value === undefined) {
        throw volumeError(name, `${kind.toLowerCase()} "${name}" has no key "${item.key}"`)
      }
      files.set(item.path, { content: value, mode: item.mode ?? mode })
    }
  }

  #addFields(files: Files, items: readonly DownwardItem[], mode: number): void {
    const addresses = this.#options.addresses()
    const none: Container = { name: '' }
    for (const item of items) {
      const text =
        item.fieldRef === undefined
          ? resourceText(this.#pod, none, item.resourceFieldRef ?? { resource: '' })
          : fieldText(this.#pod, item.fieldRef.fieldPath, addresses)
      files.set(item.path, { content: Buffer.from(text), mode: item.mode ?? mode })
    }
  }
}

function contentOf(object: DataObject, encoded: boolean): Map<string, Buffer> {
  const content = new Map<string, Buffer>()
  for (const [key, value] of Object.entries(object.data ?? {})) {
    content.set(key, Buffer.from(value, encoded ? 'base64' : 'utf8'))
  }
  for (const [key, value] of Object.entries(object.binaryData ?? {})) {
    content.set(key, Buffer.from(value, 'base64'))
  }
  return content
}
