/** For the test of whole views: the meshes. */
import type { Identity } from './traffic-kit.ts'

const object = (kind: string, name: string, spec: string, more = ''): string => `---
apiVersion: ${versions[kind] ?? 'v1'}
kind: ${kind}
metadata: {name: ${name}, namespace: shop${more}}
${spec}
`

const versions: Readonly<Record<string, string>> = {
  EndpointSlice: 'discovery.k8s.io/v1',
  GatewayClass: 'gateway.networking.k8s.io/v1',
  HTTPRoute: 'gateway.networking.k8s.io/v1',
  VirtualService: 'networking.istio.io/v1',
  DestinationRule: 'networking.istio.io/v1',
  AuthorizationPolicy: 'security.istio.io/v1',
  PeerAuthentication: 'security.istio.io/v1',
  Telemetry: 'telemetry.istio.io/v1',
  ServiceEntry: 'networking.istio.io/v1',
}

const gatewayApi = (name: string, className: string, listeners: string): string => `---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ${className}}
spec: {controllerName: istio.io/${className === 'istio' ? 'gateway' : 'mesh'}-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec: {gatewayClassName: ${className}, listeners: ${listeners}}
`

function service(name: string, address: string, ports: string, selector = name): string {
  return object(
    'Service',
    name,
    `spec: {clusterIP: ${address}, clusterIPs: [${address}], selector: {app: ${selector}}, ports: ${ports}}`,
  )
}

interface PodOptions {
  readonly app: string
  readonly ip: string
  readonly version?: string
  readonly ambient?: boolean
}

function pod(name: string, { app, ip, version = 'v1', ambient = false }: PodOptions): string {
  const annotations = ambient ? ', annotations: {ambient.istio.io/redirection: enabled}' : ''
  return object(
    'Pod',
    name,
    `spec: {serviceAccountName: app, nodeName: n1, containers: []}
status: {phase: Running, podIP: ${ip}, podIPs: [{ip: ${ip}}], conditions: [{type: Ready, status: "True"}]}`,
    `, labels: {app: ${app}, version: ${version}}${annotations}`,
  )
}

function slice(
  name: string,
  ports: string,
  endpoints: readonly (readonly [string, string])[],
): string {
  const list = endpoints.map(
    ([address, target]) =>
      `{addresses: [${address}], conditions: {ready: true}, targetRef: {kind: Pod, name: ${target}}}`,
  )
  return object(
    'EndpointSlice',
    `${name}-1`,
    `addressType: IPv4\nports: ${ports}\nendpoints: [${list.join(', ')}]`,
    `, labels: {kubernetes.io/service-name: ${name}}`,
  )
}

const metrics = object(
  'Telemetry',
  'all',
  'spec: {metrics: [{providers: [{name: prometheus}]}]}',
).replace('namespace: shop', 'namespace: istio-system')

const target = 'targetRefs: [{group: "", kind: Service, name: cart}]'

export const waypointMesh = [
  gatewayApi('waypoint', 'istio-waypoint', '[{name: mesh, port: 15008, protocol: HBONE}]'),
  '---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}\n',
  service(
    'cart',
    '10.96.0.20',
    '[{name: http, port: 80, targetPort: 8080}, {name: any, port: 9000}]',
  ),
  pod('cart-1', { app: 'cart', ip: '10.244.0.5' }),
  pod('cart-2', { app: 'cart', ip: '10.244.0.6', version: 'v2', ambient: true }),
  slice('cart', '[{name: http, port: 8080}]', [
    ['10.244.0.5', 'cart-1'],
    ['10.244.0.6', 'cart-2'],
  ]),
  object(
    'EndpointSlice',
    'cart-2',
    'addressType: IPv4\nports: [{name: any, port: 9000}]\nendpoints: [{addresses: [10.244.0.5], conditions: {ready: true}}]',
    ', labels: {kubernetes.io/service-name: cart}',
  ),
  object(
    'DestinationRule',
    'cart',
    'spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}',
  ),
  object(
    'VirtualService',
    'cart',
    `spec:
  hosts: [cart]
  http:
    - match: [{uri: {exact: /fault}}]
      fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
      route: [{destination: {host: cart, subset: v1}}]
    - match: [{headers: {x-user: {exact: tester}}, port: 80}]
      route: [{destination: {host: cart, subset: v2}}]
    - match: [{port: 80}]
      route: [{destination: {host: cart, subset: v1}}]
    - route: [{destination: {host: cart, port: {number: 9000}}}]`,
  ),
  object(
    'AuthorizationPolicy',
    'friends',
    `spec:\n  ${target}\n  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/friend]}}]}]`,
  ),
  metrics,
].join('')

const base64 = (text: string): string => Buffer.from(text).toString('base64')

function tlsSecret(name: string, { cert, key, ca }: Identity): string {
  const data = `{tls.crt: ${base64(cert)}, tls.key: ${base64(key)}, ca.crt: ${base64(ca)}}`
  return object('Secret', name, `type: kubernetes.io/tls\ndata: ${data}`)
}

export function gatewayMesh(identity: Identity): string {
  return [
    gatewayApi(
      'edge',
      'istio',
      `[{name: http, port: 8081, protocol: HTTP, hostname: shop.example},
        {name: api, port: 7443, protocol: HTTPS, hostname: api.example, tls: {certificateRefs: [{name: edge}]}}]`,
    ),
    tlsSecret('edge', identity),
    service('cart', '10.96.0.20', '[{name: http, port: 80, targetPort: 8080}]'),
    service(
      'ingress',
      '10.96.0.21',
      '[{name: http, port: 80, targetPort: 8088}, {name: https, port: 443, targetPort: 8443}, {name: mutual, port: 9443}]',
    ).replace('selector: {app: ingress}', 'selector: {istio: ingressgateway}'),
    pod('cart-1', { app: 'cart', ip: '10.244.0.5' }),
    slice('cart', '[{name: http, port: 8080}]', [['10.244.0.5', 'cart-1']]),
    object(
      'HTTPRoute',
      'cart',
      'spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: cart, port: 80}]}]}',
    ),
    `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: classic, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: [istio.example]}
    - {port: {number: 80, name: redirect, protocol: HTTP}, hosts: [secure.example], tls: {httpsRedirect: true}}
    - port: {number: 443, name: https, protocol: HTTPS}
      hosts: [secure.example]
      tls: {mode: SIMPLE, credentialName: edge, minProtocolVersion: TLSV1_3}
    - port: {number: 9443, name: mutual, protocol: HTTPS}
      hosts: [mutual.example]
      tls: {mode: MUTUAL, credentialName: edge}
`,
    object(
      'VirtualService',
      'classic',
      'spec: {hosts: [istio.example, secure.example, mutual.example], gateways: [classic], http: [{route: [{destination: {host: cart}}]}]}',
    ),
    metrics,
  ].join('')
}

export function sidecarMesh(mode: string, policy: string): string {
  return [
    `---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: ${policy}}"}
`,
    service('app', '10.96.0.31', '[{name: http, port: 80, targetPort: 8080}]'),
    service(
      'other',
      '10.96.0.30',
      '[{name: http, port: 80, targetPort: 8080}, {name: any, port: 9000, targetPort: 8080}, {name: tcp-x, port: 7000, targetPort: 8080}]',
    ),
    pod('app-1', { app: 'app', ip: '10.244.0.9' }),
    pod('other-1', { app: 'other', ip: '10.244.0.5' }),
    slice('app', '[{name: http, port: 8080}]', [['10.244.0.9', 'app-1']]),
    slice(
      'other',
      '[{name: http, port: 8080}, {name: any, port: 8080}, {name: tcp-x, port: 8080}]',
      [['10.244.0.5', 'other-1']],
    ),
    object('PeerAuthentication', 'default', `spec: {mtls: {mode: ${mode}}}`),
    object(
      'AuthorizationPolicy',
      'no-admin',
      'spec: {selector: {matchLabels: {app: app}}, action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}',
    ),
    metrics,
  ].join('')
}
