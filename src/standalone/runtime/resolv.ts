/** `/etc/resolv.conf`, `/etc/hosts` and the host name of a pod. */
import { namespaceOf, type Pod, specOf } from './types.ts'

export interface DnsSettings {
  /** The cluster DNS Service. */
  readonly server: string
  /** `cluster.local`. */
  readonly domain: string
  /** The node's own resolv.conf, for `dnsPolicy: Default` (and hostNetwork's ClusterFirst). */
  readonly nodeResolvConf: string
}

export function resolvConf(pod: Pod, settings: DnsSettings): string {
  const { dnsPolicy = 'ClusterFirst', dnsConfig, hostNetwork } = specOf(pod)
  const cluster =
    dnsPolicy === 'ClusterFirstWithHostNet' ||
    (dnsPolicy === 'ClusterFirst' && hostNetwork !== true)
  const base = cluster
    ? clusterDns(namespaceOf(pod), settings)
    : dnsPolicy === 'None'
      ? { nameservers: [], searches: [], options: [] }
      : parseResolvConf(settings.nodeResolvConf)
  const nameservers = [...base.nameservers, ...(dnsConfig?.nameservers ?? [])]
  const searches = [...base.searches, ...(dnsConfig?.searches ?? [])]
  const options = mergeOptions(base.options, dnsConfig?.options ?? [])
  return [
    ...(searches.length > 0 ? [`search ${[...new Set(searches)].join(' ')}`] : []),
    ...[...new Set(nameservers)].slice(0, 3).map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n')
}

interface ResolvConf {
  readonly nameservers: readonly string[]
  readonly searches: readonly string[]
  readonly options: readonly string[]
}

function clusterDns(namespace: string, { server, domain }: DnsSettings): ResolvConf {
  return {
    nameservers: [server],
    searches: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain],
    options: ['ndots:5'],
  }
}

function parseResolvConf(text: string): ResolvConf {
  const words = (keyword: string): string[] =>
    text
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([first]) => first === keyword)
      .flatMap(([, ...rest]) => rest)
  return { nameservers: words('nameserver'), searches: words('search'), options: words('options') }
}

function mergeOptions(
  base: readonly string[],
  own: readonly { readonly name: string; readonly value?: string }[],
): string[] {
  const names = new Set(own.map((option) => option.name))
  const kept = base.filter((option) => !names.has(option.split(':', 1)[0] ?? option))
  return [
    ...kept,
    ...own.map(({ name, value }) => (value === undefined ? name : `${name}:${value}`)),
  ]
}

export function hostsFile(pod: Pod, podIp: string, domain: string): string {
  const name = hostName(pod)
  const { subdomain, hostAliases = [], hostNetwork } = specOf(pod)
  const full =
    subdomain === undefined || subdomain === ''
      ? ''
      : `${name}.${subdomain}.${namespaceOf(pod)}.svc.${domain}\t`
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback']
  if (hostNetwork !== true) lines.push(`${podIp}\t${full}${name}`)
  for (const { ip, hostnames = [] } of hostAliases) lines.push(`${ip}\t${hostnames.join('\t')}`)
  return `# Written by Weft for the pod.\n${lines.join('\n')}\n`
}

/** At most 63 characters, as the kernel and DNS want it. */
export function hostName(pod: Pod): string {
  return (specOf(pod).hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '')
}
