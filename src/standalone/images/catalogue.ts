/**
 * The image catalogue: standalone mode has no container engine, so that an image name stands for a
 * program of this machine. A user's mappings come before the built-in ones.
 */
import { existsSync } from 'node:fs'
import { builtinImages, commonMounts, type ProgramFiles } from './builtin.ts'
import { type ImageReference, parseImage } from './reference.ts'
import type { ImageMapping, ImageProgram } from './types.ts'

export interface ImageCatalogueOptions extends ProgramFiles {
  readonly mappings?: readonly ImageMapping[]
}

export class ImageCatalogue {
  readonly #files: ProgramFiles
  readonly #builtin: Map<string, ImageProgram>
  readonly #mappings: readonly ImageMapping[]
  #defined: readonly ImageMapping[] = []

  constructor(options: ImageCatalogueOptions) {
    this.#files = options
    this.#builtin = builtinImages(options)
    this.#mappings = options.mappings ?? []
  }

  /** Replaces the images of `weft run`, which come before all others; containers started later see them. */
  setDefined(mappings: readonly ImageMapping[]): void {
    this.#defined = mappings
  }

  /** The program of an image; undefined when nobody mapped it. */
  resolve(image: string): ImageProgram | undefined {
    const reference = parseImage(image)
    if (reference === undefined) return undefined
    const mapping = [...this.#defined, ...this.#mappings].find((candidate) =>
      matches(candidate.image, reference, image),
    )
    const program =
      mapping === undefined
        ? this.#builtin.get(reference.repository)
        : programOf(mapping, reference.repository)
    if (program === undefined || program.builtin !== undefined) return program
    const { mounts: fixed = [], findMounts } = program
    const mounts = [...commonMounts(this.#files), ...fixed, ...(findMounts?.() ?? [])]
    return { ...program, mounts: mounts.filter((mount) => existsSync(mount.host)) }
  }

  /** One sentence for the pod's event: what to write where. */
  unknownImageHint(image: string): string {
    const name = parseImage(image)?.repository ?? image
    return (
      'standalone mode runs programs of this machine instead of container images: map it in weft.yaml, ' +
      `for example "images: [{image: ${name}, command: [node, server.js], dir: ./app}]"`
    )
  }

  /** The repositories that work without a mapping. */
  builtinNames(): string[] {
    return [...this.#builtin.keys()].toSorted()
  }
}

function matches(pattern: string, reference: ImageReference, image: string): boolean {
  if (pattern === image) return true
  const wanted = parseImage(pattern)
  if (wanted === undefined || wanted.repository !== reference.repository) return false
  if (wanted.tag !== undefined && wanted.tag !== reference.tag) return false
  // A pattern without a registry is meant for any.
  return wanted.registry === reference.registry || !pattern.startsWith(`${wanted.registry}/`)
}

function programOf(mapping: ImageMapping, name: string): ImageProgram {
  const { command, args, dir, env, mounts = [], writable } = mapping
  const folder = dir === undefined ? [] : [{ host: dir, path: dir, writable: writable === true }]
  return {
    name,
    command,
    ...(args === undefined ? {} : { args }),
    ...(env === undefined ? {} : { env }),
    ...(dir === undefined ? {} : { workingDir: dir }),
    mounts: [...folder, ...mounts],
  }
}
