/**
 * Kubernetes quantities (`500m`, `1.5Gi`, `12e3`): to numbers, and to the canonical text which
 * the API stores. Arithmetic is exact (bigint billionths), because `0.1` must become `100m`.
 */
import { KubeErrors } from './errors.ts'

type Format = 'decimal' | 'binary' | 'exponent'

interface Parsed {
  /** The value in billionths, rounded away from zero as upstream does. */
  readonly nanos: bigint
  readonly format: Format
  /** The canonical text, once somebody asked for it. */
  text: string | undefined
}

/** The same few dozen quantities come with every object, and big integers are slow. */
const recent = new Map<string, Parsed>()
const recentMax = 1000
const recentLengthMax = 20

const nano = 1_000_000_000n
const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']
const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']
const shape = /^([+-]?)(\d*)(?:\.(\d*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?$/

/** No number in the API needs more; a larger exponent would only cost memory. */
const exponentMax = 100

function parse(text: string): Parsed {
  const known = recent.get(text)
  if (known !== undefined) return known
  const parsed = parseAnew(text)
  if (recent.size >= recentMax) recent.clear()
  if (text.length <= recentLengthMax) recent.set(text, parsed)
  return parsed
}

function parseAnew(text: string): Parsed {
  const match = shape.exec(text)
  const whole = match?.[2] ?? ''
  const fraction = match?.[3] ?? ''
  if (match === null || whole + fraction === '') throw KubeErrors.badQuantity(text)
  const suffix = match[4] ?? ''
  let exponent = Number(match[5] ?? 0)
  if (Math.abs(exponent) > exponentMax) throw KubeErrors.badQuantity(text)
  const binary = binarySuffixes.indexOf(suffix)
  let factor = 1n
  if (binary > 0) factor = 1024n ** BigInt(binary)
  else exponent += 3 * (decimalSuffixes.indexOf(suffix) - 3)
  exponent += 9 - fraction.length
  let value = BigInt(whole + fraction) * factor
  if (exponent >= 0) value *= 10n ** BigInt(exponent)
  else value = divideUp(value, 10n ** BigInt(-exponent))
  return {
    nanos: match[1] === '-' ? -value : value,
    format: binary > 0 ? 'binary' : match[5] === undefined ? 'decimal' : 'exponent',
    text: undefined,
  }
}

function divideUp(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by
}

/** Whether a text is a quantity. */
export function isQuantity(text: string): boolean {
  try {
    parse(text)
    return true
  } catch {
    return false
  }
}

/** The exact value in billionths, rounded away from zero. Throws KUBE_BAD_QUANTITY. */
export function quantityToNanos(quantity: string): bigint {
  return parse(quantity).nanos
}

/** The value as a number: cores, bytes, counts. Throws KUBE_BAD_QUANTITY. */
export function quantityToNumber(quantity: string | number): number {
  if (typeof quantity === 'number') return quantity
  const { nanos } = parse(quantity)
  return Number(nanos / nano) + Number(nanos % nano) / 1e9
}

/** The canonical text: `0.5` → `500m`, `1024Mi` → `1Gi`, `1000k` → `1M`. Throws KUBE_BAD_QUANTITY. */
export function normaliseQuantity(quantity: string | number): string {
  const parsed = parse(String(quantity))
  parsed.text ??= canonicalText(parsed)
  return parsed.text
}

function canonicalText({ nanos, format }: Parsed): string {
  if (nanos === 0n) return '0'
  const sign = nanos < 0n ? '-' : ''
  const size = nanos < 0n ? -nanos : nanos
  // Small binary quantities are written in decimals, since there is no binary "milli".
  if (format === 'binary' && size >= 1024n * nano) {
    const [value, step] = reduce(divideUp(size, nano), 1024n, binarySuffixes.length - 1)
    return `${sign}${value}${binarySuffixes[step]}`
  }
  const [value, step] = reduce(size, 1000n, decimalSuffixes.length - 1)
  if (format === 'exponent') return `${sign}${value}${step === 3 ? '' : `e${3 * (step - 3)}`}`
  return `${sign}${value}${decimalSuffixes[step]}`
}

function reduce(value: bigint, by: bigint, maxSteps: number): [bigint, number] {
  let left = value
  let step = 0
  while (step < maxSteps && left % by === 0n) {
    left /= by
    step++
  }
  return [left, step]
}
