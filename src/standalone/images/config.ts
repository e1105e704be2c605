/** Reads the `images` list of `weft.yaml`; every complaint names the entry and the field. */
import { isAbsolute, resolve } from 'node:path'
import { MeshError } from '../../base/index.ts'
import { parseImage } from './reference.ts'
import type { ImageMapping, ImageMount } from './types.ts'

const knownFields = ['image', 'command', 'args', 'dir', 'writable', 'env', 'mounts']

/** @param baseDir the folder of `weft.yaml`; relative paths start there */
export function parseImageMappings(value: unknown, baseDir: string): ImageMapping[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalid('images', 'must be a list')
  return value.map((entry: unknown, index) => parseMapping(entry, `images[${index}]`, baseDir))
}

function parseMapping(value: unknown, field: string, baseDir: string): ImageMapping {
  const entry = mapAt(value, field)
  for (const key of Object.keys(entry)) {
    if (!knownFields.includes(key)) {
      throw invalid(`${field}.${key}`, `is not known; known are ${knownFields.join(', ')}`)
    }
  }
  const { image, writable } = entry
  if (typeof image !== 'string' || parseImage(image) === undefined) {
    throw invalid(`${field}.image`, 'must be an image name such as ghcr.io/me/app')
  }
  if (writable !== undefined && typeof writable !== 'boolean') {
    throw invalid(`${field}.writable`, 'must be true or false')
  }
  const dir = entry.dir === undefined ? undefined : pathAt(entry.dir, `${field}.dir`, baseDir)
  const env = entry.env === undefined ? undefined : mapAt(entry.env, `${field}.env`)
  const command = stringsAt(entry.command, `${field}.command`)
  if (command.length === 0) throw invalid(`${field}.command`, 'must name a program')
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
  if (!Array.isArray(value)) throw invalid(field, 'must be a list of {host, path}')
  return value.map((item: unknown, index) => {
    const at = `${field}[${index}]`
    const { host, path, writable } = mapAt(item, at)
    if (typeof path !== 'string' || !isAbsolute(path)) {
      throw invalid(`${at}.path`, 'must be an absolute path inside the container')
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
    throw invalid(field, 'must be a map')
  }
  return value as Record<string, unknown>
}

function stringsAt(value: unknown, field: string): string[] {
  if (typeof value === 'string') return value.split(/\s+/).filter((word) => word !== '')
  if (!Array.isArray(value) || value.some((item) => typeof item === 'object')) {
    throw invalid(field, 'must be a list of words')
  }
  return value.map(String)
}

function textValues(map: Record<string, unknown>, field: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map).map(([key, value]) => {
      if (typeof value === 'object') throw invalid(`${field}.${key}`, 'must be text')
      return [key, String(value)]
    }),
  )
}

function pathAt(value: unknown, field: string, baseDir: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(field, 'must be a path')
  return resolve(baseDir, value)
}

function invalid(field: string, problem: string): MeshError {
  return new MeshError('IMAGES_INVALID', `weft.yaml: ${field} ${problem}`, {
    hint: 'An entry looks like: {image: ghcr.io/me/app, command: [node, server.js], dir: ./app, env: {PORT: "8080"}}.',
  })
}
