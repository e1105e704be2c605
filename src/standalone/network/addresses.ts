/** The addresses of a standalone mesh (see ARCHITECTURE.md, "Addresses"). */

/** The node: pods of the host network, the registry, cluster DNS. */
export const nodeAddress = '10.244.0.1'
export const podCidr = '10.244.0.0/16'
/** The first address that a pod gets. */
export const firstPodAddress = '10.244.0.10'
/** Every pod's gateway; answered by ARP on each pod's veth. */
export const podGateway = '169.254.1.1'
/** Stands for the host's loopback when the mesh was started with `--host-access`. */
export const hostAlias = '169.254.1.2'
/** The name of `hostAlias` in cluster DNS. */
export const hostAliasName = 'host.weft.internal'
/** Probes come from here, so that in-pod rules can tell them from traffic. */
export const probeSource = '169.254.7.127'
export const serviceCidr = '10.96.0.0/12'
/**
 * Where the node's own packets may go once Services are translated. Rules of the output hook must
 * go by address: the interface they see there is still the one from before the translation.
 */
export const insideCidrs: readonly string[] = [podCidr, '127.0.0.0/8', '169.254.0.0/16']
export const kubernetesServiceAddress = '10.96.0.1'
export const dnsServiceAddress = '10.96.0.10'
export const clusterDomain = 'cluster.local'
export const registryPort = 6443

/** Node ports which pods may reach directly; all others of the node are closed to them. */
export const nodePortsForPods: readonly number[] = [
  registryPort, // the registry behind 10.96.0.1
  15012, // istiod: xDS and CA
  15014, // istiod: metrics; its debug pages need a token
  15017, // istiod: webhooks
  15020, // ztunnel: metrics
  15021, // ztunnel: readiness
]
