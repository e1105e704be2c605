/**
 * Golden cases: `testdata/<case>/input.yaml` (a question, then Kubernetes objects) against
 * `expected.yaml`. `UPDATE_GOLDEN=1` rewrites expectations.
 */
import { join } from 'node:path'
import { extension, hcm, listenerComponents } from '../../../proto/envoy.ts'
import { fromBinary } from '../../../proto/index.ts'
import { type AuthorizationFilters, httpAuthorization, tcpAuthorization } from './authorization.ts'
import { type ByPhase, extensionFilters } from './extensions.ts'
import { type Answers, goldenCases, readable } from './fixture.ts'
import { inboundMutualTls } from './peer-authentication.ts'
import type { Problem } from './problem.ts'
import { keySetSources, requestAuthentication } from './request-authentication.ts'

const folder = join(import.meta.dirname, 'testdata')

const http = (filter: hcm.HttpFilter): unknown => readable(hcm.HttpFilterSchema, filter)
const network = (filter: listenerComponents.Filter): unknown =>
  readable(listenerComponents.FilterSchema, filter)

const answers: Answers = {
  authorization: (given) => authorization(httpAuthorization(given.reader, given), http),
  'tcp authorization': (given) => authorization(tcpAuthorization(given.reader, given), network),
  'request authentication': (given) => {
    const { filter, problems } = requestAuthentication(given.reader, given, given.jwks)
    return { filter: filter === undefined ? 'none' : http(filter), ...told(problems) }
  },
  'key set sources': ({ reader }) => Object.fromEntries(keySetSources(reader)),
  'mutual tls': ({ reader, proxy }) => {
    const { mode, ports } = inboundMutualTls(reader, proxy)
    return { mode, ports: Object.fromEntries(ports) }
  },
  extensions: (given) => {
    const found = extensionFilters(given.reader, given)
    return {
      http: phases(found.http, http),
      network: phases(found.network, network),
      resources: found.resources.map(({ bytes }) =>
        readable(
          extension.TypedExtensionConfigSchema,
          fromBinary(extension.TypedExtensionConfigSchema, bytes),
        ),
      ),
      ...told(found.problems),
    }
  },
}

function authorization<F>(
  { custom, local, clusters, problems }: AuthorizationFilters<F>,
  show: (filter: F) => unknown,
): unknown {
  return {
    ...(custom.length === 0 ? {} : { custom: custom.map(show) }),
    local: local.map(show),
    ...(clusters.length === 0 ? {} : { clusters: clusters.map(({ name }) => name) }),
    ...told(problems),
  }
}

function phases<F>(byPhase: ByPhase<F>, show: (filter: F) => unknown): unknown {
  const filled = Object.entries(byPhase).filter(([, filters]) => filters.length > 0)
  return Object.fromEntries(filled.map(([phase, filters]) => [phase, filters.map(show)]))
}

function told(problems: readonly Problem[]): { problems?: unknown } {
  return problems.length === 0 ? {} : { problems }
}

goldenCases(folder, answers)
