/**
 * URI templates, `/users/{id}/{rest=**}`: `*` is one segment, `**` the rest of the path. They become RE2
 * expressions with a named group for each variable.
 */
import type { RE2JS } from 're2js'
import type { Place } from '../errors.ts'
import { compilePattern } from './text.ts'

export interface Template {
  readonly variables: ReadonlySet<string>
  matches(path: string): boolean
  /** The values of the variables; undefined when the path does not match. */
  capture(path: string): ReadonlyMap<string, string> | undefined
}

/** What a segment may have in it: RFC 3986's letters. */
const segmentPattern = "[a-zA-Z0-9_.~!$&'()+,;:@=%-]+"
const restPattern = "[a-zA-Z0-9_.~!$&'()+,;:@=%/-]*"
const literal = /^[a-zA-Z0-9_.~!$&'()+,;:@=%-]*$/

export function compileTemplate(source: string, place: Place): Template | undefined {
  const names: string[] = []
  const refuse = (why: string): undefined => {
    place.refuse(`'${source}' is no path template: ${why}`)
    return undefined
  }
  if (!source.startsWith('/')) return refuse("it has to begin with '/'")
  let regex = ''
  let rest = source.slice(1)
  let sawRest = false
  for (;;) {
    const { segment, length } = nextSegment(rest)
    if (sawRest) return refuse("nothing may follow '**'")
    const part = segmentRegex(segment, names)
    if (part === undefined) return refuse(`the segment '${segment}'`)
    sawRest = segment.includes('**')
    regex += `/${part}`
    if (length >= rest.length) break
    rest = rest.slice(length + 1)
  }
  if (new Set(names).size < names.length) return refuse('a variable is named twice')
  const pattern = compilePattern(regex, place)
  return pattern === undefined ? undefined : templateOf(pattern, names)
}

/** Up to the next slash that is not inside braces. */
function nextSegment(text: string): { segment: string; length: number } {
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    const letter = text.charAt(index)
    if (letter === '{') depth++
    else if (letter === '}') depth--
    else if (letter === '/' && depth === 0) return { segment: text.slice(0, index), length: index }
  }
  return { segment: text, length: text.length }
}

function segmentRegex(segment: string, names: string[]): string | undefined {
  if (segment === '*') return segmentPattern
  if (segment === '**') return restPattern
  const variable = /^\{([a-zA-Z][a-zA-Z0-9_]*)(?:=(.+))?\}$/.exec(segment)
  if (variable === null) return literal.test(segment) ? quote(segment) : undefined
  const [, name = '', inner = '*'] = variable
  const parts = inner.split('/').map((part) => {
    if (part === '*') return segmentPattern
    if (part === '**') return restPattern
    return literal.test(part) ? quote(part) : undefined
  })
  if (parts.includes(undefined)) return undefined
  names.push(name)
  return `(${parts.join('/')})`
}

function quote(text: string): string {
  return text.replaceAll(/[.$()+]/g, '\\$&')
}

function templateOf(pattern: RE2JS, names: readonly string[]): Template {
  return {
    variables: new Set(names),
    matches: (path) => pattern.testExact(path),
    capture: (path) => {
      const matcher = pattern.matcher(path)
      if (!matcher.matches()) return undefined
      return new Map(names.map((name, index) => [name, matcher.group(index + 1) ?? '']))
    },
  }
}

/** The rewriting side, `/v2/{rest}/{id}`; undefined when refused. */
export function compileTemplateRewrite(
  source: string,
  variables: ReadonlySet<string>,
  place: Place,
): ((captured: ReadonlyMap<string, string>) => string) | undefined {
  const parts = source.split(/(\{[^{}]*\})/).filter((part) => part !== '')
  const readers = parts.map((part): ((captured: ReadonlyMap<string, string>) => string) => {
    if (!part.startsWith('{')) return () => part
    const name = part.slice(1, -1)
    if (!variables.has(name)) place.refuse(`'${source}' names '${name}', which the match has not`)
    return (captured) => captured.get(name) ?? ''
  })
  if (!source.startsWith('/') || /\/\/|\*/.test(source)) {
    place.refuse(`'${source}' is no path template`)
    return undefined
  }
  return (captured) => readers.map((read) => read(captured)).join('')
}
