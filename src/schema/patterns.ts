/**
 * `pattern` as schemas write it, in RE2 syntax, as JavaScript expressions. The two agree on nearly
 * everything in use; what JavaScript lacks is translated, the rest is refused.
 */
import { maxCompiledPatterns } from './limits.ts'

const compiled = new Map<string, RegExp | undefined>()

const posixClasses: Record<string, string> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: '0-9A-Za-z',
  upper: 'A-Z',
  lower: 'a-z',
  space: '\\t\\n\\v\\f\\r ',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: '0-9A-Fa-f',
  word: '0-9A-Za-z_',
}

/** The expression of a pattern, or undefined when it isn't one. */
export function compilePattern(pattern: string): RegExp | undefined {
  if (compiled.has(pattern)) return compiled.get(pattern)
  // Dropping everything is crude, but only a flood of CRDs gets here.
  if (compiled.size >= maxCompiledPatterns) compiled.clear()
  const expression = compile(pattern)
  compiled.set(pattern, expression)
  return expression
}

function compile(pattern: string): RegExp | undefined {
  // Look-around and back-references don't exist in RE2.
  if (/\(\?(?:[=!]|<[=!])/.test(pattern) || /(?<!\\)(?:\\\\)*\\[1-9]/.test(pattern))
    return undefined
  let flags = ''
  let body = pattern.replace(/^\(\?([ims]+)\)/, (_, found: string) => {
    flags = found
    return ''
  })
  body = body
    .replaceAll('(?P<', '(?<')
    .replaceAll('\\A', '^')
    .replaceAll('\\z', '$')
    .replace(/\[:(\w+):\]/g, (all, name: string) => posixClasses[name] ?? all)
  for (const mode of [`${flags}u`, flags]) {
    try {
      return new RegExp(body, mode)
    } catch {
      // The second try, without Unicode mode, allows needless escapes such as `\-` outside classes.
    }
  }
  return undefined
}
