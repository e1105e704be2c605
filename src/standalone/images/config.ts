/** Reads the `images` list of `weft.yaml`; every complaint names the entry and the field. */
import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { parse } from 'yaml'
import { MeshError, toError } from '../../base/index.ts'
import { parseImage } from './reference.ts'
import type { ImageMapping, ImageMount } from './types.ts'

const knownFields = ['image', 'command', 'args', 'dir', 'writable', 'env', 'mounts']

/** Reads the mappings of a `weft.yaml`; what is wrong with it is said with its path. */
export function readImageFile(path: string): ImageMapping[] {
  let value: unknown
  try {
    value = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // The parser's message goes on with a picture of the place; its first line has line and column.
    const [first = ''] = toError(error).message.split('\n')
    throw new MeshError('IMAGES_INVALID', `${path}: ${first.replace(/:$/, '')}`, {
      cause: error,
      hint: 'Correct the file, or name another one with --images.',
    })
  }
  if (value === undefined || value === null) return []
  if (typeof value !== 'object' || Array.isArray(value))
    throw invalid(path, 'the file', 'must be a map')
  const unknown = Object.keys(value).find((key) => key !== 'images')
  if (unknown !== undefined) throw invalid(path, unknown, 'is not known; known is images')
  return parseImageMappings((value as { images?: unknown }).images, dirname(path), path)
}

/**
 * @param baseDir the folder of `weft.yaml`; relative paths start there
 * @param source names the file in errors
 */
export function parseImageMappings(
  value: unknown,
  baseDir: string,
  source = 'weft.yaml',
): ImageMapping[] {
  if (value === undefined || value === null) return []
  try {
    if (!Array.isArray(value)) throw new FieldProblem('images', 'must be a list')
    return value.map((entry: unknown, index) => parseMapping(entry, `images[${index}]`, baseDir))
  } catch (error) {
    if (error instanceof FieldProblem) throw invalid(source, error.field, error.problem)
    throw error
  }
}

/** Carries field and problem to where the file's name is known. */
class FieldProblem extends Error {
  readonly field: string
  readonly problem: string

  constructor(field: string, problem: string) {
    super(`${field} ${problem}`)
    this.field = field
    this.problem = problem
  }
}

function parseMapping(value: unknown, field: string, baseDir: string): ImageMapping {
  const entry = mapAt(value, field)
  for (const key of Object.keys(entry)) {
    if (!knownFields.includes(key)) {
      throw new FieldProblem(`${field}.${key}`, `is not known; known are ${knownFields.join(', ')}`)
    }
  }
  const { image, writable } = entry
  if (typeof image !== 'string' || parseImage(image) === undefined) {
    throw new FieldProblem(`${field}.image`, 'must be an image name such as ghcr.io/me/app')
  }
  if (writable !== undefined && typeof writable !== 'boolean') {
    throw new FieldProblem(`${field}.writable`, 'must be true or false')
  }
  const dir = entry.dir === undefined ? undefined : pathAt(entry.dir, `${field}.dir`, baseDir)
  const env = entry.env === undefined ? undefined : mapAt(entry.env, `${field}.env`)
  const command = stringsAt(entry.command, `${field}.command`)
  if (command.length === 0) throw new FieldProblem(`${field}.command`, 'must name a program')
  return {
    image,
    command,
    ...(entry.args === undefined ? {} : { args: stringsAt(entry.args, `${field}.args`) }),
    ...(dir === undefined ? {} : { dir }),
    ...(writable === undefined ? {} : { writable }),
    ...(env === undefined ? {} : { env: textValues(env, `${field}.env`) }),
    ...(entry.mounts === undefined
      ? {}
      : { mounts: parseMounts(entry.mounts, `${field}.mounts`, baseDir) }),
  }
}

function parseMounts(value: unknown, field: string, baseDir: string): ImageMount[] {
  if (!Array.isArray(value)) throw new FieldProblem(field, 'must be a list of {host, path}')
  return value.map((item: unknown, index) => {
    const at = `${field}[${index}]`
    const { host, path, writable } = mapAt(item, at)
    if (typeof path !== 'string' || !isAbsolute(path)) {
      throw new FieldProblem(`${at}.path`, 'must be an absolute path inside the container')
    }
    return {
      host: pathAt(host, `${at}.host`, baseDir),
      path,
      ...(writable === true ? { writable } : {}),
    }
  })
}

function mapAt(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FieldProblem(field, 'must be a map')
  }
  return value as Record<string, unknown>
}

function stringsAt(value: unknown, field: string): string[] {
  if (typeof value === 'string') return value.split(/\s+/).filter((word) => word !== '')
  if (!Array.isArray(value) || value.some((item) => typeof item === 'object')) {
    throw new FieldProblem(field, 'must be a list of words')
  }
  return value.map(String)
}

function textValues(map: Record<string, unknown>, field: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map).map(([key, value]) => {
      if (typeof value === 'object') throw new FieldProblem(`${field}.${key}`, 'must be text')
      return [key, String(value)]
    }),
  )
}

function pathAt(value: unknown, field: string, baseDir: string): string {
  if (typeof value !== 'string' || value === '') throw new FieldProblem(field, 'must be a path')
  return resolve(baseDir, value)
}

function invalid(source: string, field: string, problem: string): MeshError {
  return new MeshError('IMAGES_INVALID', `${source}: ${field} ${problem}`, {
    hint: 'An entry looks like: {image: ghcr.io/me/app, command: [node, server.js], dir: ./app, env: {PORT: "8080"}}.',
  })
}
