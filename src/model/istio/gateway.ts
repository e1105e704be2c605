/** Gateway of networking.istio.io, raw; "Gateway" alone is Gateway API's everywhere else. */
import type { Labels } from '../types.ts'
import type { IstioPort, ServerTlsSettings } from './common.ts'

export interface IstioGatewaySpec {
  readonly selector?: Labels
  readonly servers?: readonly IstioServer[]
}

export interface IstioServer {
  readonly name?: string
  readonly port?: IstioPort
  readonly bind?: string
  readonly hosts?: readonly string[]
  readonly tls?: ServerTlsSettings
  readonly defaultEndpoint?: string
}
