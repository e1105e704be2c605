/**
 * WasmPlugins and TrafficExtensions as filters, in the order they run: by phase, in it by priority, the
 * highest first. Modules travel as resources of their own (ECDS), so that fetching one holds up no
 * listener; scripts are part of the listener. A module is for Envoy only: our own proxy refuses it, or
 * goes without where the author chose FAIL_OPEN.
 */
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import type {
  ConfigObject,
  PluginPhase,
  PolicyAttachment,
  TrafficExtensionSpec,
  TrafficSelector,
  WasmModule,
  WasmPluginSpec,
} from '../../../model/index.ts'
import {
  configSource,
  core,
  extension,
  hcm,
  httpUri,
  httpWasm,
  listenerComponents,
  lua,
  networkWasm,
  wasm,
} from '../../../proto/envoy.ts'
import { create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import { olderFirst, type Reader } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import { adsSource, duration, pack } from '../values.ts'
import { attaches, namespacesOf, type PolicyTarget } from './attachment.ts'
import { httpFilter, textSource } from './filters.ts'
import { type Problem, problemOf } from './problem.ts'

export interface ExtensionTarget extends PolicyTarget {
  readonly side: 'CLIENT' | 'SERVER'
  /** Of the listener; undefined: one listener for all ports. */
  readonly port?: number | undefined
}

export type Phase = 'AUTHN' | 'AUTHZ' | 'STATS' | 'OTHER'

export type ByPhase<F> = Readonly<Record<Phase, readonly F[]>>

export interface ExtensionFilters {
  readonly http: ByPhase<hcm.HttpFilter>
  readonly network: ByPhase<listenerComponents.Filter>
  /** The modules' configurations, which the filters refer to. */
  readonly resources: readonly TranslatedResource[]
  readonly problems: readonly Problem[]
}

type ExtensionObject = ConfigObject<PolicyAttachment & ExtensionSpec>

/** What both kinds have, with the older one's fields in the newer one's place. */
interface ExtensionSpec {
  readonly phase?: PluginPhase
  readonly priority?: number
  readonly match?: readonly TrafficSelector[]
  readonly wasm?: WasmModule
  readonly lua?: { readonly inlineCode?: string }
}

/** Scripts above this size are refused by the schema as well. */
const maxScriptBytes = 65_536

export function extensionFilters(reader: Reader, target: ExtensionTarget): ExtensionFilters {
  const http: Record<Phase, hcm.HttpFilter[]> = { AUTHN: [], AUTHZ: [], STATS: [], OTHER: [] }
  const network: Record<Phase, listenerComponents.Filter[]> = {
    AUTHN: [],
    AUTHZ: [],
    STATS: [],
    OTHER: [],
  }
  const resources: TranslatedResource[] = []
  const problems: Problem[] = []
  for (const object of extensionsFor(reader, target)) {
    const phase = phaseOf(object.spec.phase)
    const name = `${object.namespace}.${object.name}`
    const { wasm: module, lua: script } = object.spec
    if (script !== undefined) {
      const { inlineCode = '' } = script
      if (inlineCode === '' || inlineCode.length > maxScriptBytes) {
        const message = `a script has 1 to ${maxScriptBytes} bytes; it is left out`
        problems.push(problemOf(object, '/spec/lua/inlineCode', message))
      } else http[phase].push(luaFilter(name, inlineCode))
    } else if (module !== undefined) {
      const path = object.kind === 'WasmPlugin' ? '/spec/url' : '/spec/wasm/url'
      if ((module.url ?? '') === '') {
        problems.push(problemOf(object, path, 'there is no module without a URL; it is left out'))
      } else if (module.type === 'NETWORK') {
        network[phase].push(networkReference(name))
        resources.push(moduleResource(object, name, module))
      } else {
        http[phase].push(httpReference(name, module))
        resources.push(moduleResource(object, name, module))
      }
    } else {
      const message = 'an extension needs a wasm module or a lua script; it is left out'
      problems.push(problemOf(object, '/spec', message))
    }
  }
  return { http, network, resources, problems }
}

/** Those that hold and match, in the order they run within each phase. */
export function extensionsFor(reader: Reader, target: ExtensionTarget): ExtensionObject[] {
  const { rootNamespace } = reader.settings
  const found: ExtensionObject[] = namespacesOf(target, rootNamespace).flatMap((namespace) => [
    ...reader.configs('WasmPlugin', namespace).map(asExtension),
    ...reader.configs('TrafficExtension', namespace).map(asTrafficExtension),
  ])
  return found
    .filter((object) => attaches(object, target, rootNamespace) && matches(object.spec, target))
    .toSorted((left, right) => {
      const byPriority = (right.spec.priority ?? 0) - (left.spec.priority ?? 0)
      return byPriority === 0 ? olderFirst(left, right) : byPriority
    })
}

function asExtension(object: ConfigObject<WasmPluginSpec>): ExtensionObject {
  return { ...object, spec: { ...object.spec, wasm: object.spec } }
}

function asTrafficExtension(object: ConfigObject<TrafficExtensionSpec>): ExtensionObject {
  return object
}

/** Any of the selectors; none at all matches everything. */
function matches({ match = [] }: ExtensionSpec, { side, port }: ExtensionTarget): boolean {
  return (
    match.length === 0 ||
    match.some(({ mode = 'UNDEFINED', ports = [] }) => {
      const sided = mode === 'UNDEFINED' || mode === 'CLIENT_AND_SERVER' || mode === side
      return (
        sided &&
        (ports.length === 0 || port === undefined || ports.some(({ number }) => number === port))
      )
    })
  )
}

function phaseOf(phase: PluginPhase | undefined): Phase {
  return phase === 'AUTHN' || phase === 'AUTHZ' || phase === 'STATS' ? phase : 'OTHER'
}

function luaFilter(name: string, code: string): hcm.HttpFilter {
  const config = create(lua.LuaSchema, { defaultSourceCode: textSource(code) })
  return httpFilter(`extensions.istio.io/lua/${name}`, lua.LuaSchema, config)
}

function httpReference(name: string, module: WasmModule): hcm.HttpFilter {
  return create(hcm.HttpFilterSchema, {
    name: resourceName(name),
    configType: { case: 'configDiscovery', value: discovered(httpWasm.WasmSchema.typeName) },
    // Whoever has no such extension may go without it, if the author accepts that.
    isOptional: module.failStrategy === 'FAIL_OPEN',
  })
}

function networkReference(name: string): listenerComponents.Filter {
  return create(listenerComponents.FilterSchema, {
    name: resourceName(name),
    configType: { case: 'configDiscovery', value: discovered(networkWasm.WasmSchema.typeName) },
  })
}

function discovered(typeName: string): configSource.ExtensionConfigSource {
  return create(configSource.ExtensionConfigSourceSchema, {
    configSource: adsSource(),
    typeUrls: [`type.googleapis.com/${typeName}`],
  })
}

function resourceName(name: string): string {
  return `extensions.istio.io/wasmplugin/${name}`
}

function moduleResource(
  object: ExtensionObject,
  name: string,
  module: WasmModule,
): TranslatedResource {
  const plugin = pluginConfig(object, name, module)
  const typedConfig =
    module.type === 'NETWORK'
      ? pack(networkWasm.WasmSchema, create(networkWasm.WasmSchema, { config: plugin }))
      : pack(httpWasm.WasmSchema, create(httpWasm.WasmSchema, { config: plugin }))
  return encodeResource({
    name: resourceName(name),
    typeUrl: typeUrl.extensionConfig,
    schema: extension.TypedExtensionConfigSchema,
    message: create(extension.TypedExtensionConfigSchema, {
      name: resourceName(name),
      typedConfig,
    }),
  })
}

const failurePolicies: Readonly<Record<string, wasm.FailurePolicy>> = {
  FAIL_CLOSE: wasm.FailurePolicy.FAIL_CLOSED,
  FAIL_OPEN: wasm.FailurePolicy.FAIL_OPEN,
  FAIL_RELOAD: wasm.FailurePolicy.FAIL_RELOAD,
}

function pluginConfig(
  object: ExtensionObject,
  name: string,
  module: WasmModule,
): wasm.PluginConfig {
  const { pluginConfig: configuration, pluginName = '', failStrategy = 'FAIL_CLOSE' } = module
  const text = configuration === undefined ? '' : JSON.stringify(configuration)
  return create(wasm.PluginConfigSchema, {
    name,
    rootId: pluginName,
    vm: { case: 'vmConfig', value: virtualMachine(object, module) },
    ...(text === '' ? {} : { configuration: packText(text) }),
    failurePolicy: failurePolicies[failStrategy] ?? wasm.FailurePolicy.FAIL_CLOSED,
  })
}

function packText(text: string): ReturnType<typeof pack> {
  return pack(StringValueSchema, create(StringValueSchema, { value: text }))
}

/** The agent beside the proxy fetches the module and puts the file's path here. */
function virtualMachine(object: ExtensionObject, module: WasmModule): wasm.VmConfig {
  const { imagePullPolicy = 'UNSPECIFIED_POLICY', imagePullSecret = '', vmConfig = {} } = module
  const keyValues: Record<string, string> = {
    ISTIO_META_WASM_IMAGE_PULL_POLICY: imagePullPolicy,
    ...(imagePullSecret === ''
      ? {}
      : {
          ISTIO_META_WASM_IMAGE_PULL_SECRET: `kubernetes://${object.namespace}/${imagePullSecret}`,
        }),
  }
  const hostEnvKeys: string[] = []
  for (const { name = '', value = '', valueFrom = 'INLINE' } of vmConfig.env ?? []) {
    if (valueFrom === 'HOST') hostEnvKeys.push(name)
    else keyValues[name] = value
  }
  return create(wasm.VmConfigSchema, {
    runtime: 'envoy.wasm.runtime.v8',
    code: codeOf(module),
    environmentVariables: create(wasm.EnvironmentVariablesSchema, { hostEnvKeys, keyValues }),
  })
}

const fetchTimeoutMs = 30_000

function codeOf({ url = '', sha256 = '' }: WasmModule): core.AsyncDataSource {
  if (url.startsWith('file://')) {
    const local = create(core.DataSourceSchema, {
      specifier: { case: 'filename', value: url.slice('file://'.length) },
    })
    return create(core.AsyncDataSourceSchema, { specifier: { case: 'local', value: local } })
  }
  const remote = create(core.RemoteDataSourceSchema, {
    httpUri: create(httpUri.HttpUriSchema, {
      uri: url.includes('://') ? url : `oci://${url}`,
      // Never used: Envoy's schema wants one, and the agent replaces the whole source.
      httpUpstreamType: { case: 'cluster', value: '_' },
      timeout: duration(fetchTimeoutMs),
    }),
    sha256,
  })
  return create(core.AsyncDataSourceSchema, { specifier: { case: 'remote', value: remote } })
}
