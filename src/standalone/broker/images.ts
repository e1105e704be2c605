/**
 * The images of `weft run`: programs and folders of this machine under an image name. Only who may use the
 * control socket, the mesh's owner, can add one; they are kept, so that a pod started with `--keep`
 * or `--detach` comes back with the mesh.
 */
import { type ImageMapping, parseImageMappings } from '../images/index.ts'
import { readStateFile, writeStateFile } from '../state/files.ts'
import { limits } from './limits.ts'

export class DefinedImages {
  readonly #path: string
  #images: readonly ImageMapping[] = []

  /** @param path of the state file */
  constructor(path: string) {
    this.#path = path
  }

  /** Reads what an earlier run of the mesh knew. */
  load(): void {
    const text = readStateFile(this.#path)
    if (text === undefined) return
    try {
      this.#images = parseImageMappings(JSON.parse(text), '/', this.#path)
    } catch {
      // Cut off or edited by hand: the pods concerned say that their image is unknown.
      this.#images = []
    }
  }

  list(): readonly ImageMapping[] {
    return this.#images
  }

  /** Adds an image or replaces the one of that name. Refuses what no mapping may be; the oldest goes when there are too many. */
  define(image: ImageMapping): void {
    const [checked] = parseImageMappings([image], '/', 'weft run')
    if (checked === undefined) return
    const others = this.#images.filter((present) => present.image !== checked.image)
    this.#store([checked, ...others].slice(0, limits.definedImages))
  }

  forget(name: string): void {
    const others = this.#images.filter((present) => present.image !== name)
    if (others.length < this.#images.length) this.#store(others)
  }

  #store(images: readonly ImageMapping[]): void {
    writeStateFile(this.#path, `${JSON.stringify(images, null, 2)}\n`)
    this.#images = images
  }
}
