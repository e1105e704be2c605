/**
 * Takes single files out of a zip archive. Written here because it is the only archive we meet, `unzip` is often
 * missing, and reading the central directory takes fewer lines than a dependency's licence.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { inflateRawSync } from 'node:zlib'
import { MeshError } from '../base/index.ts'

const endSignature = 0x06054b50
const entrySignature = 0x02014b50

/** @param wanted names inside the archive; a missing one is an error */
export function readZipFiles(path: string, wanted: readonly string[]): Map<string, Buffer> {
  const fd = openSync(path, 'r')
  try {
    const read = (position: number, length: number): Buffer => {
      const buffer = Buffer.alloc(length)
      const got = readSync(fd, buffer, 0, length, position)
      return buffer.subarray(0, got)
    }
    const { size } = fstatSync(fd)
    // The end record is followed by a comment of at most 64 KiB.
    const tail = read(Math.max(0, size - 65_557), Math.min(size, 65_557))
    const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]))
    if (end < 0 || tail.readUInt32LE(end) !== endSignature)
      throw broken(path, 'it has no directory')
    const directory = read(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12))
    const found = new Map<string, Buffer>()
    for (let at = 0; at + 46 <= directory.length; ) {
      if (directory.readUInt32LE(at) !== entrySignature)
        throw broken(path, 'its directory is damaged')
      const nameLength = directory.readUInt16LE(at + 28)
      const name = directory.toString('utf8', at + 46, at + 46 + nameLength)
      if (wanted.includes(name)) {
        const start = directory.readUInt32LE(at + 42)
        const header = read(start, 30)
        const skip = 30 + header.readUInt16LE(26) + header.readUInt16LE(28)
        const data = read(start + skip, directory.readUInt32LE(at + 20))
        found.set(name, directory.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data))
      }
      at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32)
    }
    for (const name of wanted) if (!found.has(name)) throw broken(path, `${name} is not in it`)
    return found
  } finally {
    closeSync(fd)
  }
}

function broken(path: string, why: string): MeshError {
  return new MeshError('CLI_ARCHIVE', `${path} can't be unpacked: ${why}`, {
    hint: 'Remove the file and run the command again, to fetch it anew.',
  })
}
