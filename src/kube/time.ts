/** The two time formats of the Kubernetes API. Only UTC is written; any offset is read. */

/** `metav1.Time`: whole seconds, `2026-01-31T12:00:00Z`. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

/** `metav1.MicroTime` (Lease, Event): always six digits, `2026-01-31T12:00:00.123000Z`. */
export function formatMicroTime(ms: number): string {
  const micros = Math.round((ms - Math.floor(ms)) * 1000)
  const whole = new Date(Math.floor(ms)).toISOString().slice(0, 23)
  return `${whole}${String(Math.min(micros, 999)).padStart(3, '0')}Z`
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/

/** Milliseconds since 1970 of an RFC 3339 time, or undefined when the text isn't one. */
export function parseTime(text: string): number | undefined {
  if (!rfc3339.test(text)) return undefined
  const ms = Date.parse(text.toUpperCase())
  return Number.isNaN(ms) ? undefined : ms
}

/** The age of something as kubectl prints it: `45s`, `3m12s`, `5h`, `12d`, `2y45d`. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.trunc(seconds / 60)
  if (minutes < 10) return withRest(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.trunc(minutes / 60)
  if (hours < 8) return withRest(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.trunc(hours / 24)
  if (hours < 192) return withRest(days, 'd', hours % 24, 'h')
  if (days < 730) return `${days}d`
  const years = Math.trunc(days / 365)
  return days < 2920 ? withRest(years, 'y', days % 365, 'd') : `${years}y`
}

function withRest(whole: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${restUnit}`
}
