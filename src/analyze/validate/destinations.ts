/** Where routes lead to: destinations, their weights, and the gateways they are bound to. */
import type { Complaint, Place } from './findings.ts'
import { checkHeaders } from './http-headers.ts'
import { fqdn, isDnsLabel, port, quote, wildcardDomain } from './values.ts'

export function subsetName(name: string): Complaint {
  if (name === '') return 'subset name cannot be empty'
  return isDnsLabel(name) ? undefined : `subset name is invalid: ${name}`
}

export function checkDestination(destination: Place): void {
  if (!destination.present) return
  const host = destination.at('host')
  host.check(host.text === '*' ? 'invalid destination host *' : wildcardDomain(host.text))
  const subset = destination.at('subset')
  if (subset.text !== '') subset.check(subsetName(subset.text))
  const selected = destination.at('port')
  if (selected.present) selected.check(port(selected.at('number').number))
}

/** The weighted destinations of a route of any kind; only those of HTTP have headers. */
export function checkDestinations(routes: Place): void {
  let total = 0
  const { items } = routes
  for (const item of items) {
    const destination = item.at('destination')
    if (!destination.present) item.error('destination is required')
    checkHeaders(item.at('headers'))
    checkDestination(destination)
    const weight = item.at('weight')
    if (weight.number < 0) weight.error(`weight ${weight.number} < 0`)
    total += weight.number
  }
  if (items.length > 1 && total === 0) routes.error('total destination weight = 0')
}

/** `namespace/name`, or the short and the fully qualified names of old. */
export function checkGatewayNames(gateways: Place): void {
  for (const gateway of gateways.items) {
    const slash = gateway.text.indexOf('/')
    if (slash < 0) {
      const [name = '', namespace] = gateway.text.split('.')
      if (namespace !== undefined) {
        gateway.warn(
          `using legacy gatewayName format ${quote(gateway.text)}; prefer the <namespace>/<name> format: ${quote(`${namespace}/${name}`)}`,
        )
      }
      gateway.check(fqdn(gateway.text))
      continue
    }
    const [namespace, name] = [gateway.text.slice(0, slash), gateway.text.slice(slash + 1)]
    if (namespace === '' || name === '') {
      gateway.error('config namespace and gateway name cannot be empty')
    }
    if (!isDnsLabel(namespace)) gateway.error(`invalid value for namespace: ${quote(namespace)}`)
    if (!isDnsLabel(name)) gateway.error(`invalid value for gateway name: ${quote(name)}`)
  }
}
