/**
 * What validation finds, and the cursor with which validators walk an object: it knows the path of the
 * field it stands on, so that a validator says what is wrong and never where.
 */

export interface Finding {
  /** Like `spec.http[0].route[1].weight`. */
  readonly path: string
  readonly message: string
}

/** Errors keep an object out; warnings are shown to whoever writes it. */
export interface Findings {
  readonly errors: Finding[]
  readonly warnings: Finding[]
}

/** What a check of one value says when it is bad. */
export type Complaint = string | undefined

interface Way {
  readonly parent: Place | undefined
  readonly step: string | number
  readonly kind: 'field' | 'element' | 'root'
}

export class Place {
  readonly value: unknown
  readonly #parent: Place | undefined
  /** What leads here from the parent, as paths show it; a root's whole path. */
  readonly #step: string | number
  readonly #kind: 'field' | 'element' | 'root'
  readonly #findings: Findings

  private constructor(value: unknown, findings: Findings, way: Way) {
    this.value = value
    this.#findings = findings
    this.#parent = way.parent
    this.#step = way.step
    this.#kind = way.kind
  }

  static root(value: unknown, path: string, findings: Findings): Place {
    return new Place(value, findings, { parent: undefined, step: path, kind: 'root' })
  }

  /** Put together when somebody asks, which is when something is wrong: most objects are fine. */
  get path(): string {
    const before = this.#parent?.path ?? ''
    if (this.#kind === 'field') return `${before}.${this.#step}`
    return this.#kind === 'element' ? `${before}[${this.#step}]` : String(this.#step)
  }

  /** A field of this object; null counts as absent, as everywhere in Kubernetes' JSON. */
  at(name: string): Place {
    const value =
      isMap(this.value) && Object.hasOwn(this.value, name) ? this.value[name] : undefined
    return this.#inner(value ?? undefined, name, 'field')
  }

  #inner(value: unknown, step: string | number, kind: 'field' | 'element'): Place {
    return new Place(value, this.#findings, { parent: this, step, kind })
  }

  get present(): boolean {
    return this.value !== undefined && this.value !== null
  }

  /** The elements of this list; a null among them is an error and left out. */
  get items(): Place[] {
    if (!Array.isArray(this.value)) return []
    return this.value.flatMap((value: unknown, index) => {
      const place = this.#inner(value, index, 'element')
      if (value !== null) return [place]
      place.error(`${lastName(this.path)} may not be null`)
      return []
    })
  }

  get entries(): [key: string, place: Place][] {
    if (!isMap(this.value)) return []
    return Object.entries(this.value).map(([key, value]) => [
      key,
      this.#inner(value ?? undefined, key, 'element'),
    ])
  }

  /** Empty when this is no text. */
  get text(): string {
    return typeof this.value === 'string' ? this.value : ''
  }

  get texts(): string[] {
    return this.items.map(({ text }) => text)
  }

  /** 0 when this is no number; numbers in quotes count, as in protobuf's JSON. */
  get number(): number {
    const number = typeof this.value === 'string' ? Number(this.value) : this.value
    return typeof number === 'number' && Number.isFinite(number) ? number : 0
  }

  get flag(): boolean {
    return this.value === true
  }

  error(message: string): void {
    this.#findings.errors.push({ path: this.path, message })
  }

  warn(message: string): void {
    this.#findings.warnings.push({ path: this.path, message })
  }

  /** Reports what a check said, if anything. True when the value is good. */
  check(complaint: Complaint): boolean {
    if (complaint !== undefined) this.error(complaint)
    return complaint === undefined
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `route` of `spec.http[0].route`. */
function lastName(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1)
}
