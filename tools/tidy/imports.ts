/** Reads the import graph of src/ as text; enough for rules about files and rooms. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

export interface SourceFile {
  /** Relative to src/, with slashes. */
  readonly path: string
  readonly room: string
  readonly text: string
  readonly test: boolean
  readonly imports: readonly Import[]
}

export interface Import {
  readonly specifier: string
  /** Path relative to src/ when it is one of ours. */
  readonly target: string | undefined
  readonly typeOnly: boolean
}

const pattern =
  /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[\w*{][^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g

export function readSources(src: string): SourceFile[] {
  const files: SourceFile[] = []
  const walk = (folder: string): void => {
    for (const name of readdirSync(folder).toSorted()) {
      const path = join(folder, name)
      if (statSync(path).isDirectory()) {
        if (name !== 'gen' && name !== 'testdata' && name !== 'node_modules') walk(path)
      } else if (name.endsWith('.ts')) files.push(readSource(src, path))
    }
  }
  walk(src)
  return files
}

function readSource(src: string, path: string): SourceFile {
  const text = readFileSync(path, 'utf8')
  const imports: Import[] = []
  for (const match of text.matchAll(pattern)) {
    const specifier = match[2] ?? match[3] ?? ''
    const local = specifier.startsWith('.')
      ? relative(src, resolve(dirname(path), specifier))
      : undefined
    imports.push({ specifier, target: local, typeOnly: match[1] !== undefined })
  }
  const own = relative(src, path)
  const test = /\.test\.ts$|(^|\/)fixtures?\.ts$|(^|\/)testkit\//.test(own)
  return { path: own, room: own.split('/')[0] ?? '', text, test, imports }
}
