/** The access log line of gateways, in Istio's default text format. */

/** Envoy's short names for what went wrong; `-` when nothing did. */
export type ResponseFlag = '-' | 'NR' | 'NC' | 'UH' | 'UF' | 'UC' | 'UT' | 'DC' | 'DPE'

export interface AccessRecord {
  readonly startMs: number
  readonly method: string
  path: string
  readonly protocol: string
  status: number
  flag: ResponseFlag
  details: string
  failure: string
  bytesReceived: number
  bytesSent: number
  durationMs: number
  upstreamMs: number | undefined
  forwardedFor: string | undefined
  readonly userAgent: string | undefined
  readonly requestId: string
  readonly authority: string
  upstreamHost: string | undefined
  upstreamCluster: string | undefined
  upstreamLocal: string | undefined
  readonly downstreamLocal: string
  readonly downstreamRemote: string
  routeName: string | undefined
}

export function formatAccess(record: AccessRecord): string {
  const text = (value: string | number | undefined): string =>
    value === undefined || value === '' ? '-' : String(value)
  const quoted = (value: string | undefined): string => `"${escape(text(value))}"`
  return [
    `[${new Date(record.startMs).toISOString()}]`,
    quoted(`${record.method} ${record.path} ${record.protocol}`),
    record.status,
    record.flag,
    text(record.details),
    '-',
    quoted(record.failure),
    record.bytesReceived,
    record.bytesSent,
    record.durationMs,
    text(record.upstreamMs),
    quoted(record.forwardedFor),
    quoted(record.userAgent),
    quoted(record.requestId),
    quoted(record.authority),
    quoted(record.upstreamHost),
    text(record.upstreamCluster),
    text(record.upstreamLocal),
    record.downstreamLocal,
    record.downstreamRemote,
    '-',
    text(record.routeName),
  ].join(' ')
}

/** Clients choose some of these values: a line stays a line, a field stays a field. */
function escape(text: string): string {
  let result = ''
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0
    const plain = code >= 0x20 && code !== 0x7f && char !== '"' && char !== '\\'
    result += plain ? char : `\\x${code.toString(16).padStart(2, '0')}`
  }
  return result
}
