/** The `format` checks that the Kubernetes API makes on strings; unknown formats pass. */
import { isIP, isIPv4, isIPv6 } from 'node:net'
import { isQuantity, parseTime } from '../kube/index.ts'

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const hostname =
  /^(?=.{1,255}$)[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*\.?$/
const uuid = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
const duration = /^[-+]?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w)\s*)+$|^0$/

const checks: Record<string, (value: string) => boolean> = {
  byte: (value) => base64.test(value.replaceAll(/[\r\n]/g, '')),
  'date-time': (value) => parseTime(value) !== undefined,
  'date-time-micro': (value) => parseTime(value) !== undefined,
  date: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  quantity: isQuantity,
  duration: (value) => duration.test(value),
  email: (value) => /^[^\s@]+@[^\s@]+$/.test(value),
  hostname: (value) => hostname.test(value),
  ipv4: isIPv4,
  ipv6: isIPv6,
  cidr: (value) => {
    const [address = '', bits = ''] = value.split('/')
    return (
      /^\d{1,3}$/.test(bits) &&
      Number(bits) <= (isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1)
    )
  },
  mac: (value) => /^(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(value),
  uri: (value) => URL.canParse(value) || value.startsWith('/'),
  uuid: (value) => uuid.test(value),
  uuid3: (value) => uuid.test(value),
  uuid4: (value) => uuid.test(value),
  uuid5: (value) => uuid.test(value),
}

/** Whether a text has a format; true for formats which the API doesn't check either. */
export function hasFormat(value: string, format: string): boolean {
  return checks[format]?.(value) ?? true
}
