/** Image names as containers write them: `[registry/]repository[:tag][@digest]`. */

export interface ImageReference {
  /** `docker.io` when the name has none. */
  readonly registry: string
  /** Without registry, tag and digest: `istio/pilot`, `busybox`. */
  readonly repository: string
  readonly tag: string | undefined
}

/** Reads an image name; undefined when it can't be one (empty, spaces, upper case in the repository). */
export function parseImage(image: string): ImageReference | undefined {
  const at = image.indexOf('@')
  const withTag = at < 0 ? image : image.slice(0, at)
  const slash = withTag.indexOf('/')
  const first = slash < 0 ? '' : withTag.slice(0, slash)
  const hasRegistry = /^[a-z\d][a-z\d.-]*[.:][a-z\d.:-]*$/i.test(first) || first === 'localhost'
  const rest = hasRegistry ? withTag.slice(slash + 1) : withTag
  const colon = rest.lastIndexOf(':')
  const tagged = colon > rest.lastIndexOf('/')
  const repository = (tagged ? rest.slice(0, colon) : rest).replace(/^library\//, '')
  if (!/^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$/.test(repository)) return undefined
  const tag = tagged ? rest.slice(colon + 1) : undefined
  if (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag)) return undefined
  return { registry: hasRegistry ? first : 'docker.io', repository, tag }
}
