/** PEM text and the bytes inside. Bundles may hold several certificates with comments between. */
import { malformed } from './errors.ts'
import { limits } from './limits.ts'

const block = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g

/** The blocks of one label, each with its own BEGIN and END and a newline at the end. */
export function splitPem(text: string, label = 'CERTIFICATE'): string[] {
  const blocks: string[] = []
  for (const match of text.matchAll(block)) {
    if (match[1] !== label) continue
    if (blocks.length >= limits.bundleCertificatesMax) {
      throw malformed('the PEM bundle', `more than ${limits.bundleCertificatesMax} blocks`)
    }
    blocks.push(derToPem(decode(match[2] ?? '', label), label))
  }
  return blocks
}

/** The bytes of the first block with this label. */
export function pemToDer(text: string, label = 'CERTIFICATE'): Buffer {
  for (const match of text.matchAll(block)) {
    if (match[1] === label) return decode(match[2] ?? '', label)
  }
  throw malformed('the PEM text', `it has no ${label} block`)
}

export function derToPem(der: Uint8Array, label = 'CERTIFICATE'): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')
  const lines = base64.match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

function decode(body: string, label: string): Buffer {
  const text = body.replace(/\s+/g, '')
  if (text === '' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
    throw malformed(`the ${label} block`, 'it is not base64')
  }
  return Buffer.from(text, 'base64')
}
