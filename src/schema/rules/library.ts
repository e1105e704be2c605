/** The functions of rules that know Kubernetes' own formats: quantities, names and labels. */
import {
  CelError,
  CelOpaque,
  CelOptional,
  type FunctionDeclaration,
  fn,
  type Library,
  listType,
  method,
  none,
  opaqueType,
  optionalType,
  parsingCost,
  types,
} from '../../cel/index.ts'
import {
  quantityToNanos,
  validateDns1035Label,
  validateDnsLabel,
  validateDnsSubdomain,
  validateLabelValue,
  validateQualifiedName,
} from '../../kube/index.ts'
import { hasFormat } from '../formats.ts'

const { bool, int, double, string } = types
const quantityType = opaqueType('kubernetes.Quantity')
const formatType = opaqueType('kubernetes.NamedFormat')

const nano = 1_000_000_000n

class Quantity extends CelOpaque {
  readonly typeName = 'kubernetes.Quantity'
  readonly nanos: bigint
  constructor(nanos: bigint) {
    super()
    this.nanos = nanos
  }
  equals(other: CelOpaque): boolean {
    return other instanceof Quantity && other.nanos === this.nanos
  }
}

class Format extends CelOpaque {
  readonly typeName = 'kubernetes.NamedFormat'
  readonly name: string
  /** What is wrong with a text. */
  readonly complaints: (text: string) => readonly string[]
  constructor(name: string, complaints: (text: string) => readonly string[]) {
    super()
    this.name = name
    this.complaints = complaints
  }
  equals(other: CelOpaque): boolean {
    return other instanceof Format && other.name === this.name
  }
}

function quantityOf(text: string): Quantity | undefined {
  try {
    return new Quantity(quantityToNanos(text))
  } catch {
    return undefined
  }
}

function quantity(text: string): Quantity {
  const found = quantityOf(text)
  if (found === undefined) {
    throw new CelError(
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    )
  }
  return found
}

function order(a: Quantity, b: Quantity): number {
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0
}

function isWhole({ nanos }: Quantity): boolean {
  return nanos % nano === 0n && BigInt.asIntN(64, nanos / nano) === nanos / nano
}

function wholeOf(value: Quantity): bigint {
  if (!isWhole(value)) throw new CelError('cannot convert value to integer')
  return value.nanos / nano
}

function arithmetic(name: string, sign: bigint): FunctionDeclaration[] {
  return [
    method(name, [quantityType, quantityType], quantityType, (a: Quantity, b: Quantity) => {
      return new Quantity(a.nanos + sign * b.nanos)
    }),
    method(name, [quantityType, int], quantityType, (a: Quantity, b: bigint) => {
      return new Quantity(a.nanos + sign * b * nano)
    }),
  ]
}

function comparison(name: string, wanted: number): FunctionDeclaration {
  const call = (a: Quantity, b: Quantity) => order(a, b) === wanted
  return method(name, [quantityType, quantityType], bool, call)
}

const parsing = { cost: parsingCost }

const quantities: Library = [
  fn('isQuantity', [string], bool, (text: string) => quantityOf(text) !== undefined, parsing),
  fn('quantity', [string], quantityType, quantity, parsing),
  method('sign', [quantityType], int, (a: Quantity) => BigInt(order(a, new Quantity(0n)))),
  method('isInteger', [quantityType], bool, isWhole),
  method('asInteger', [quantityType], int, wholeOf),
  method('asApproximateFloat', [quantityType], double, ({ nanos }: Quantity) => {
    return Number(nanos / nano) + Number(nanos % nano) / 1e9
  }),
  ...arithmetic('add', 1n),
  ...arithmetic('sub', -1n),
  comparison('isGreaterThan', 1),
  comparison('isLessThan', -1),
  method('compareTo', [quantityType, quantityType], int, (a: Quantity, b: Quantity) =>
    BigInt(order(a, b)),
  ),
]

/** Prefixes may end with a dash, since something follows. */
function asPrefix(check: (text: string) => readonly string[]) {
  return (text: string) =>
    check(text.length > 1 && text.endsWith('-') ? `${text.slice(0, -1)}a` : text)
}

function byFormat(format: string, complaint: string) {
  return (text: string) => (hasFormat(text, format) ? [] : [complaint])
}

const formats: Record<string, (text: string) => readonly string[]> = {
  dns1123Label: validateDnsLabel,
  dns1123Subdomain: validateDnsSubdomain,
  dns1035Label: validateDns1035Label,
  dns1123LabelPrefix: asPrefix(validateDnsLabel),
  dns1123SubdomainPrefix: asPrefix(validateDnsSubdomain),
  dns1035LabelPrefix: asPrefix(validateDns1035Label),
  qualifiedName: validateQualifiedName,
  labelValue: validateLabelValue,
  uri: byFormat('uri', 'invalid URI'),
  uuid: byFormat('uuid', 'does not match the UUID format'),
  byte: byFormat('byte', 'invalid base64'),
  date: byFormat('date', 'invalid date'),
  datetime: byFormat('date-time', 'invalid datetime'),
}

const ready = new Map(
  Object.entries(formats).map(([name, complaints]) => [name, new Format(name, complaints)]),
)

const namedFormats: Library = [
  ...[...ready].map(([name, format]) => fn(`format.${name}`, [], formatType, () => format)),
  fn('format.named', [string], optionalType(formatType), (name: string) => {
    const format = ready.get(name)
    return format === undefined ? none : new CelOptional(format)
  }),
  method(
    'validate',
    [formatType, string],
    optionalType(listType(string)),
    (format: Format, text: string) => {
      const complaints = format.complaints(text)
      return complaints.length === 0 ? none : new CelOptional([...complaints])
    },
    { cost: (_: Format, text: string) => parsingCost(text) },
  ),
]

export const kubernetesTypes: Library = [...quantities, ...namedFormats]
