/**
 * Holds the architecture: layer order, one door a room, no cycles, pure rooms, bans, file limits.
 * `npm run check` runs it; every finding names file, rule and remedy.
 */
import { resolve } from 'node:path'
import { type Import, readSources, type SourceFile } from './imports.ts'
import {
  doors,
  forbidden,
  layers,
  limits,
  longFiles,
  onlyIn,
  pureModules,
  pureModulesOf,
  pureRooms,
} from './rules.ts'

export function tidy(src: string): string[] {
  const files = readSources(src)
  return [
    ...files.flatMap((file) => [...checkFile(file), ...checkImports(file)]),
    ...findCycles(files),
  ]
}

/** Position in the order: a room may import those with a smaller row, or the same row and further left. */
function rank(room: string): readonly [number, number] | undefined {
  for (const [row, rooms] of layers.entries()) {
    const column = rooms.indexOf(room)
    if (column >= 0) return [row, column]
  }
  return undefined
}

function checkFile(file: SourceFile): string[] {
  const found: string[] = []
  const lines = file.text.split('\n')
  if (lines.length > limits.fileLines && !longFiles.includes(file.path)) {
    found.push(
      `src/${file.path}: ${lines.length} lines, ${limits.fileLines} at most; split it by what its parts do`,
    )
  }
  for (const [index, line] of lines.entries()) {
    // A sentence that users see stays whole, so that it can be searched for.
    const text = /(['"`]).{50,}\1|\/.{60,}\//.test(line)
    if (line.length > limits.lineColumns && !text) {
      found.push(
        `src/${file.path}:${index + 1}: ${line.length} columns, ${limits.lineColumns} at most`,
      )
    }
  }
  if (!file.test && !/^(#!.*\n)?\/\*\*?|^(#!.*\n)?\/\//.test(file.text)) {
    found.push(
      `src/${file.path}: no header comment; say in a few lines what it is and why it is this way`,
    )
  }
  if (rank(file.room) === undefined) {
    found.push(`src/${file.path}: room ${file.room} is not in tools/tidy/rules.ts`)
  }
  if (!file.test && pureRooms.includes(file.room)) {
    const impure =
      /\b(Date\.now|setTimeout|setInterval|Math\.random|process\.env|systemClock)\b/.exec(file.text)
    if (impure)
      found.push(
        `src/${file.path}: ${impure[0]} in the pure room ${file.room}; take it as a parameter`,
      )
  }
  return found
}

function checkImports(file: SourceFile): string[] {
  if (file.test) return []
  return file.imports.flatMap((entry) =>
    entry.target === undefined ? checkPackage(file, entry) : checkRoom(file, entry.target),
  )
}

function checkPackage(file: SourceFile, { specifier, typeOnly }: Import): string[] {
  const found: string[] = []
  const rooms = onlyIn[specifier]
  if (rooms !== undefined && !rooms.includes(file.room) && !typeOnly) {
    found.push(`src/${file.path}: imports ${specifier}, which only ${rooms.join(', ')} may`)
  }
  if (
    pureRooms.includes(file.room) &&
    specifier.startsWith('node:') &&
    !pureModules.includes(specifier) &&
    !(pureModulesOf[file.room] ?? []).includes(specifier)
  ) {
    found.push(`src/${file.path}: imports ${specifier} in the pure room ${file.room}`)
  }
  return found
}

function checkRoom(file: SourceFile, target: string): string[] {
  const [room = '', ...rest] = target.split('/')
  if (room === file.room) return []
  if (target.startsWith('..')) return [`src/${file.path}: imports ${target}, which is outside src/`]
  const found: string[] = []
  if (!(doors[room] ?? ['index.ts']).includes(rest.join('/'))) {
    found.push(`src/${file.path}: imports ${target}; a room is entered through its index.ts`)
  }
  const from = rank(file.room)
  const to = rank(room)
  if (from && to && !(to[0] < from[0] || (to[0] === from[0] && to[1] < from[1]))) {
    found.push(
      `src/${file.path}: ${file.room} may not import ${room}, which is above or to the right of it`,
    )
  }
  for (const ban of forbidden) {
    if (ban.rooms.includes(file.room) && ban.imports.includes(room)) {
      found.push(`src/${file.path}: ${file.room} may not import ${room}: ${ban.why}`)
    }
  }
  return found
}

/** Cycles of value imports between files; types may refer to each other. */
function findCycles(files: readonly SourceFile[]): string[] {
  const graph = new Map(
    files.map((file) => [
      file.path,
      file.imports.flatMap((entry) =>
        entry.typeOnly || entry.target === undefined ? [] : [entry.target],
      ),
    ]),
  )
  const found: string[] = []
  const state = new Map<string, 'open' | 'done'>()
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      found.push(`import cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}`)
      return
    }
    state.set(path, 'open')
    for (const next of graph.get(path) ?? []) if (graph.has(next)) visit(next, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}

if (import.meta.main) {
  const found = tidy(resolve(import.meta.dirname, '../../src'))
  for (const line of found) console.log(line)
  process.exitCode = found.length > 0 ? 1 : 0
}
