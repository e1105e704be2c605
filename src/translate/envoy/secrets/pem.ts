/**
 * Whether text is PEM at all: what Envoy could not read must not replace a certificate that works. Says
 * nothing about signatures, names or times.
 */

const block = /-----BEGIN ([A-Z0-9 ]+)-----([\sA-Za-z0-9+/=]*)-----END \1-----/g

/** Labels of the blocks, in order; undefined when one of them is broken or there is none. */
export function pemLabels(text: string): string[] | undefined {
  const labels: string[] = []
  for (const [, label = '', body = ''] of text.matchAll(block)) {
    if (!isWholeDer(Buffer.from(body, 'base64'))) return undefined
    labels.push(label)
  }
  const begins = text.match(/-----BEGIN /g)?.length ?? 0
  return labels.length === 0 || labels.length !== begins ? undefined : labels
}

/** A sequence that ends where its bytes end. */
function isWholeDer(der: Buffer): boolean {
  const [tag, first = 0] = der
  if (tag !== 0x30 || der.length < 3) return false
  if (first < 0x80) return der.length === first + 2
  const lengthBytes = first & 0x7f
  if (lengthBytes === 0 || lengthBytes > 4 || der.length < lengthBytes + 2) return false
  return der.length === der.readUIntBE(2, lengthBytes) + lengthBytes + 2
}

export function isCertificates(text: string): boolean {
  return pemLabels(text)?.every((label) => label === 'CERTIFICATE') === true
}

/** Encrypted keys are none: nobody here knows their passwords. */
export function isPrivateKey(text: string): boolean {
  const labels = pemLabels(text)
  return (
    labels?.some((label) => label.endsWith('PRIVATE KEY') && !label.includes('ENCRYPTED')) === true
  )
}

export function isRevocationList(text: string): boolean {
  return pemLabels(text)?.every((label) => label === 'X509 CRL') === true
}
