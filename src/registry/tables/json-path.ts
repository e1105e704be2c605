/**
 * The JSONPath subset of printer columns and selectable fields: names, `['quoted names']`, indexes,
 * `[*]`, and filters such as `[?(@.type=="Ready")]`. A path that can't be read selects nothing.
 */
import { isMap, valueAt } from '../values.ts'

type Step =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | {
      readonly kind: 'filter'
      readonly path: string
      readonly equal: boolean
      readonly value: string
    }

const forms = [
  /\.?\[\?\(@\.([\w.-]+)\s*(==|!=)\s*["']?([^"')]*)["']?\)\]/,
  /\.?\[\*\]/,
  /\.?\[(-?\d+)\]/,
  /\.?\[['"]([^'"]+)['"]\]/,
  /\.((?:\\.|[^.[\\])+)/,
]
const token = new RegExp(forms.map(({ source }) => source).join('|'), 'gy')

/** Compiles a path; undefined when it has parts that aren't supported. */
export function compileJsonPath(source: string): ((root: unknown) => unknown[]) | undefined {
  const text = source
    .trim()
    .replace(/^\{(.*)\}$/, '$1')
    .replace(/^\$/, '')
  const steps: Step[] = []
  const path = text.startsWith('.') || text.startsWith('[') ? text : `.${text}`
  token.lastIndex = 0
  while (token.lastIndex < path.length) {
    const match = token.exec(path)
    if (match === null) return undefined
    const [whole, filterPath, operator, value, index, quoted, name] = match
    if (filterPath !== undefined) {
      steps.push({ kind: 'filter', path: filterPath, equal: operator === '==', value: value ?? '' })
    } else if (index !== undefined) steps.push({ kind: 'index', index: Number(index) })
    else if (quoted !== undefined) steps.push({ kind: 'name', name: quoted })
    else if (name !== undefined) steps.push({ kind: 'name', name: name.replace(/\\(.)/g, '$1') })
    else if (whole.endsWith('[*]')) steps.push({ kind: 'all' })
  }
  return (root) =>
    steps.reduce<unknown[]>((values, step) => values.flatMap((each) => follow(each, step)), [root])
}

function follow(value: unknown, step: Step): unknown[] {
  switch (step.kind) {
    case 'name':
      return isMap(value) && step.name in value ? [value[step.name]] : []
    case 'index':
      return Array.isArray(value) && value.at(step.index) !== undefined
        ? [value.at(step.index)]
        : []
    case 'all':
      if (Array.isArray(value)) return value
      return isMap(value) ? Object.values(value) : []
    case 'filter':
      if (!Array.isArray(value)) return []
      return value.filter(
        (item) => (String(valueAt(item, step.path)) === step.value) === step.equal,
      )
  }
}
