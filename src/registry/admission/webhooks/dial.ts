/** How the registry reaches a webhook; the composition root decides through which network. */
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

export interface WebhookAddress {
  /** An IP address for an endpoint of a Service; what a URL says otherwise. */
  readonly host: string
  readonly port: number
  /** Whether it is an endpoint of a Service, inside the cluster's network. */
  readonly inCluster: boolean
}

/** Connects; rejects with an error whose `code` is an errno. */
export type WebhookDialer = (address: WebhookAddress) => Promise<Duplex>

/** Straight from this process. */
export const dialDirectly: WebhookDialer = ({ host, port }) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
