/** LoadBalancerSettings: hashing, warm-up, and preferring what is near. */
import type { Complaint, Place } from './findings.ts'
import { limits } from './limits.ts'
import { duration } from './values.ts'

/** @param outliers whether hosts are ejected, without which nothing fails over */
export function checkLoadBalancer(settings: Place, outliers: boolean): void {
  if (!settings.present) return
  checkConsistentHash(settings.at('consistentHash'))
  const [locality, zones] = [settings.at('localityLbSetting'), settings.at('zoneAwareLbSetting')]
  if (locality.present && zones.present) {
    settings.error('only one of localityLbSetting or zoneAwareLbSetting can be set')
  }
  checkLocality(locality, outliers)
  checkZones(zones)
  checkWarmup(settings)
}

function checkConsistentHash(hash: Place): void {
  if (!hash.present) return
  const cookie = hash.at('httpCookie')
  if (cookie.present && cookie.at('name').text === '') cookie.error('name required for HttpCookie')
  const [ring, maglev] = [hash.at('ringHash'), hash.at('maglev')]
  if (hash.at('minimumRingSize').number !== 0) {
    hash.warn(
      "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead",
    )
    if (ring.present || maglev.present) {
      hash.error('only one of MinimumRingSize or Maglev/Ringhash can be specified')
    }
  }
  const size = maglev.at('tableSize')
  if (!size.present) return
  if (size.number === 0) size.error('tableSize must be set for maglev')
  if (size.number >= limits.maglevTableSize) {
    size.error(`tableSize must be less than ${limits.maglevTableSize} for maglev`)
  }
  if (!isPrime(size.number)) size.error('tableSize must be a prime number for maglev')
}

function isPrime(number: number): boolean {
  if (number < 2) return false
  for (let factor = 2; factor * factor <= number; factor++) {
    if (number % factor === 0) return false
  }
  return true
}

const topologyLabels = new Set([
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
])

function checkLocality(locality: Place, outliers: boolean): void {
  if (!locality.present) return
  const [distribute, failover] = [locality.at('distribute').items, locality.at('failover').items]
  const priorities = locality.at('failoverPriority').texts
  if (distribute.length > 0 && failover.length > 0) {
    locality.error("can not simultaneously specify 'distribute' and 'failover'")
    return
  }
  const clash =
    failover.length > 0 ? priorities.find((name) => topologyLabels.has(name)) : undefined
  if (clash !== undefined) {
    locality.error(
      `can not simultaneously set 'failover' and topology label '${clash}' in 'failover_priority'`,
    )
    return
  }
  for (const rule of distribute) {
    const to = rule.at('to')
    const weights = to.entries.map(([, { number }]) => number)
    if (weights.some((weight) => weight <= 0 || weight > 100)) {
      to.error('locality weight must be in range [1, 100]')
      return
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    if (total !== 100) {
      to.error(`total locality weight ${total} != 100`)
      return
    }
    to.check(overlappingLocalities(to.entries.map(([name]) => name)))
  }
  locality.check(overlappingLocalities(distribute.map((rule) => rule.at('from').text)))
  if ((failover.length > 0 || priorities.length > 0) && !outliers) {
    locality.warn('outlier detection policy must be provided for failover')
  }
  for (const rule of failover) checkFailover(rule)
}

function checkFailover(rule: Place): void {
  const [from, to] = [rule.at('from').text, rule.at('to').text]
  if (from === to) rule.error('locality lb failover settings must specify different regions')
  if (`${from}${to}`.includes('/')) rule.error('locality lb failover only specify region')
  if (`${from}${to}`.includes('*')) {
    rule.error("locality lb failover region should not contain '*' wildcard")
  }
}

/** `region/zone/subzone`, cut short or ending in `*`: none may lie within an earlier one. */
function overlappingLocalities(localities: readonly string[]): Complaint {
  const seen: string[][] = []
  for (const locality of localities) {
    const stars = locality.split('*').length - 1
    if (stars > 1 || (stars === 1 && !locality.endsWith('*'))) {
      return `locality ${locality} wildcard '*' number can not exceed 1 and must be in the end`
    }
    const parts = locality.split('/')
    if (parts.includes('')) {
      return `locality ${locality} must not contain empty region/zone/subzone info`
    }
    const fixed = parts.at(-1) === '*' ? parts.slice(0, -1) : parts
    const within = (inner: readonly string[], outer: readonly string[]): boolean =>
      outer.every((part, index) => inner[index] === part)
    if (seen.some((other) => within(fixed, other) || within(other, fixed))) {
      return `locality ${locality} overlap with previous specified ones`
    }
    seen.push(fixed)
  }
  return undefined
}

function checkZones(zones: Place): void {
  if (!zones.present) return
  const minimum = zones.at('minClusterSize')
  if (minimum.present && minimum.number < 1) minimum.error('minClusterSize must be at least 1')
  for (const rule of zones.at('failover').items) checkFailover(rule)
  for (const key of zones.at('failoverPriority').items) {
    const [name = ''] = key.text.split('=')
    if (topologyLabels.has(name) && name !== 'topology.kubernetes.io/region') {
      key.error(
        `failoverPriority of zoneAwareLbSetting cannot have ${name}: zones are chosen by weight`,
      )
    }
  }
}

function checkWarmup(settings: Place): void {
  const [old, warmup] = [settings.at('warmupDurationSecs'), settings.at('warmup')]
  if (old.present && warmup.present) {
    settings.error('only one of warmupDurationSecs or warmup can be set')
  }
  if (old.present) old.check(duration(old.text))
  if (!warmup.present) return
  const time = warmup.at('duration')
  if (!time.present) warmup.error('duration is required')
  else time.check(duration(time.text))
  const minimum = warmup.at('minimumPercent')
  if (minimum.number > 100) {
    minimum.error('minimumPercent value should be less than or equal to 100')
  }
  const aggression = warmup.at('aggression')
  if (aggression.present && aggression.number < 1) {
    aggression.error('aggression should be greater than or equal to 1')
  }
}
