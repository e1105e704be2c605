/**
 * What one kind of proxy may know of the mesh. This one sees whatever is exported to its namespace;
 * a Sidecar object gives its proxies a narrower one with the same face.
 */
import type { Service } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import type { ProxyView } from '../proxy.ts'
import { findDestinationRule, type MergedRule } from './destination-rules.ts'
import { type VirtualService, virtualServices } from './virtual-services.ts'
import { preferredService, seesService, visibleServices } from './visibility.ts'

export interface Scope {
  readonly reader: Reader
  readonly view: ProxyView
  /** Ordered by host name, one for each. */
  services(): readonly Service[]
  /** Those of them with such a port. */
  servicesWithPort(port: number): readonly Service[]
  serviceOf(hostname: string): Service | undefined
  /** @param gateway `mesh` or `<namespace>/<name>`; oldest first */
  virtualServices(gateway: string): readonly VirtualService[]
  destinationRule(service: Pick<Service, 'namespace' | 'hostname'>): MergedRule | undefined
}

export class NamespaceScope implements Scope {
  readonly reader: Reader
  readonly view: ProxyView

  constructor(reader: Reader, view: ProxyView) {
    this.reader = reader
    this.view = view
  }

  services(): readonly Service[] {
    return visibleServices(this.reader, this.view.namespace).all
  }

  servicesWithPort(port: number): readonly Service[] {
    return visibleServices(this.reader, this.view.namespace).byPort.get(port) ?? []
  }

  serviceOf(hostname: string): Service | undefined {
    const { reader, view } = this
    const candidates = reader
      .servicesByHost(hostname)
      .filter((service) => seesService(reader, service, view.namespace))
    return preferredService(candidates, view.namespace)
  }

  virtualServices(gateway: string): readonly VirtualService[] {
    return virtualServices(this.reader, this.view.namespace, gateway)
  }

  destinationRule(service: Pick<Service, 'namespace' | 'hostname'>): MergedRule | undefined {
    return findDestinationRule(this.reader, this.view, service)
  }
}
