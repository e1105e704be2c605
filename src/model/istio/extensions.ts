/** WasmPlugin and TrafficExtension (extensions.istio.io), raw. */
import type { LabelSelector, TargetReference } from './common.ts'
import type { PolicyAttachment } from './security.ts'

export type PluginPhase = 'UNSPECIFIED_PHASE' | 'UNSPECIFIED' | 'AUTHN' | 'AUTHZ' | 'STATS'

export interface TrafficSelector {
  readonly mode?: 'UNDEFINED' | 'CLIENT' | 'SERVER' | 'CLIENT_AND_SERVER'
  readonly ports?: readonly { readonly number?: number }[]
}

export interface WasmModule {
  readonly url?: string
  readonly sha256?: string
  readonly imagePullPolicy?: 'UNSPECIFIED_POLICY' | 'IfNotPresent' | 'Always'
  readonly imagePullSecret?: string
  readonly verificationKey?: string
  readonly pluginConfig?: unknown
  readonly pluginName?: string
  readonly failStrategy?: 'FAIL_CLOSE' | 'FAIL_OPEN' | 'FAIL_RELOAD'
  readonly type?: 'UNSPECIFIED_PLUGIN_TYPE' | 'HTTP' | 'NETWORK'
  readonly vmConfig?: {
    readonly env?: readonly {
      readonly name?: string
      readonly value?: string
      readonly valueFrom?: 'INLINE' | 'HOST'
    }[]
  }
}

export interface WasmPluginSpec extends PolicyAttachment, WasmModule {
  readonly phase?: PluginPhase
  readonly priority?: number
  readonly match?: readonly TrafficSelector[]
}

/** The successor of WasmPlugin: a module, or a script of its own. */
export interface TrafficExtensionSpec {
  readonly selector?: LabelSelector
  readonly targetRefs?: readonly TargetReference[]
  readonly phase?: PluginPhase
  readonly priority?: number
  readonly match?: readonly TrafficSelector[]
  readonly wasm?: WasmModule
  readonly lua?: { readonly inlineCode?: string }
}
