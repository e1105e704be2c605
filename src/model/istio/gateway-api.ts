/**
 * Kinds of Gateway API, raw. `Spec` ends the names: the model's own, normalized forms of Gateway and
 * HTTPRoute are in `gateway-types.ts`.
 */
import type { Labels } from '../types.ts'

export interface ParentRefSpec {
  readonly group?: string
  readonly kind?: string
  readonly namespace?: string
  readonly name?: string
  readonly sectionName?: string
  readonly port?: number
}

/** A reference to an object; some uses have no namespace or no port. */
export interface ObjectReferenceSpec {
  readonly group?: string
  readonly kind?: string
  readonly namespace?: string
  readonly name?: string
  readonly port?: number
}

export interface BackendRefSpec extends ObjectReferenceSpec {
  readonly weight?: number
}

interface RouteSpec {
  readonly parentRefs?: readonly ParentRefSpec[]
  readonly useDefaultGateways?: 'All' | 'None'
}

export interface HTTPRouteSpec extends RouteSpec {
  readonly hostnames?: readonly string[]
  readonly rules?: readonly HTTPRouteRuleSpec[]
}

export interface HTTPRouteRuleSpec {
  readonly name?: string
  readonly matches?: readonly HTTPRouteMatchSpec[]
  readonly filters?: readonly HTTPRouteFilterSpec[]
  readonly backendRefs?: readonly HTTPBackendRefSpec[]
  readonly timeouts?: { readonly request?: string; readonly backendRequest?: string }
  readonly retry?: {
    readonly codes?: readonly number[]
    readonly attempts?: number
    readonly backoff?: string
  }
  readonly sessionPersistence?: unknown
}

export interface HTTPBackendRefSpec extends BackendRefSpec {
  readonly filters?: readonly HTTPRouteFilterSpec[]
}

export interface HTTPRouteMatchSpec {
  readonly path?: {
    readonly type?: 'Exact' | 'PathPrefix' | 'RegularExpression'
    readonly value?: string
  }
  readonly headers?: readonly HeaderMatchSpec[]
  readonly queryParams?: readonly HeaderMatchSpec[]
  readonly method?: string
}

export interface HeaderMatchSpec {
  readonly name?: string
  readonly type?: 'Exact' | 'RegularExpression'
  readonly value?: string
}

export interface HTTPHeaderSpec {
  readonly name?: string
  readonly value?: string
}

export interface HeaderModifierSpec {
  readonly set?: readonly HTTPHeaderSpec[]
  readonly add?: readonly HTTPHeaderSpec[]
  readonly remove?: readonly string[]
}

export interface RequestMirrorSpec {
  readonly backendRef?: ObjectReferenceSpec
  readonly percent?: number
  readonly fraction?: { readonly numerator?: number; readonly denominator?: number }
}

export interface PathModifierSpec {
  readonly type?: 'ReplaceFullPath' | 'ReplacePrefixMatch'
  readonly replaceFullPath?: string
  readonly replacePrefixMatch?: string
}

export interface HTTPRouteFilterSpec {
  readonly type?:
    | 'RequestHeaderModifier'
    | 'ResponseHeaderModifier'
    | 'RequestMirror'
    | 'RequestRedirect'
    | 'URLRewrite'
    | 'ExtensionRef'
    | 'CORS'
    | 'ExternalAuth'
  readonly requestHeaderModifier?: HeaderModifierSpec
  readonly responseHeaderModifier?: HeaderModifierSpec
  readonly requestMirror?: RequestMirrorSpec
  readonly requestRedirect?: {
    readonly scheme?: 'http' | 'https'
    readonly hostname?: string
    readonly path?: PathModifierSpec
    readonly port?: number
    readonly statusCode?: number
  }
  readonly urlRewrite?: { readonly hostname?: string; readonly path?: PathModifierSpec }
  readonly cors?: {
    readonly allowOrigins?: readonly string[]
    readonly allowCredentials?: boolean
    readonly allowMethods?: readonly string[]
    readonly allowHeaders?: readonly string[]
    readonly exposeHeaders?: readonly string[]
    readonly maxAge?: number
  }
  readonly extensionRef?: ObjectReferenceSpec
  readonly externalAuth?: unknown
}

export interface GRPCRouteSpec extends RouteSpec {
  readonly hostnames?: readonly string[]
  readonly rules?: readonly GRPCRouteRuleSpec[]
}

export interface GRPCRouteRuleSpec {
  readonly name?: string
  readonly matches?: readonly {
    readonly method?: {
      readonly type?: 'Exact' | 'RegularExpression'
      readonly service?: string
      readonly method?: string
    }
    readonly headers?: readonly HeaderMatchSpec[]
  }[]
  readonly filters?: readonly HTTPRouteFilterSpec[]
  readonly backendRefs?: readonly HTTPBackendRefSpec[]
  readonly sessionPersistence?: unknown
}

export interface TLSRouteSpec extends RouteSpec {
  readonly hostnames?: readonly string[]
  readonly rules?: readonly StreamRouteRuleSpec[]
}

export interface TCPRouteSpec extends RouteSpec {
  readonly rules?: readonly StreamRouteRuleSpec[]
}

export interface StreamRouteRuleSpec {
  readonly name?: string
  readonly backendRefs?: readonly BackendRefSpec[]
}

export interface BackendTLSPolicySpec {
  readonly targetRefs?: readonly {
    readonly group?: string
    readonly kind?: string
    readonly name?: string
    readonly sectionName?: string
  }[]
  readonly validation?: {
    readonly caCertificateRefs?: readonly ObjectReferenceSpec[]
    readonly wellKnownCACertificates?: string
    readonly hostname?: string
    readonly subjectAltNames?: readonly {
      readonly type?: 'Hostname' | 'URI'
      readonly hostname?: string
      readonly uri?: string
    }[]
  }
  readonly options?: Readonly<Record<string, string>>
}

export interface ReferenceGrantSpec {
  readonly from?: readonly {
    readonly group?: string
    readonly kind?: string
    readonly namespace?: string
  }[]
  readonly to?: readonly {
    readonly group?: string
    readonly kind?: string
    readonly name?: string
  }[]
}

export interface SelectorSpec {
  readonly matchLabels?: Labels
  readonly matchExpressions?: readonly {
    readonly key?: string
    readonly operator?: string
    readonly values?: readonly string[]
  }[]
}

export interface ListenerSpec {
  readonly name?: string
  readonly hostname?: string
  readonly port?: number
  readonly protocol?: string
  readonly tls?: {
    readonly mode?: 'Terminate' | 'Passthrough'
    readonly certificateRefs?: readonly ObjectReferenceSpec[]
    readonly options?: Readonly<Record<string, string>>
  }
  readonly allowedRoutes?: {
    readonly namespaces?: {
      readonly from?: 'All' | 'Selector' | 'Same'
      readonly selector?: SelectorSpec
    }
    readonly kinds?: readonly { readonly group?: string; readonly kind?: string }[]
  }
}

/** How a listener checks the certificates of its clients. */
export interface FrontendValidationSpec {
  readonly validation?: {
    readonly caCertificateRefs?: readonly ObjectReferenceSpec[]
    readonly mode?: 'AllowValidOnly' | 'AllowInsecureFallback'
  }
}

export interface GatewaySpec {
  readonly gatewayClassName?: string
  readonly listeners?: readonly ListenerSpec[]
  readonly addresses?: readonly { readonly type?: string; readonly value?: string }[]
  readonly infrastructure?: {
    readonly labels?: Labels
    readonly annotations?: Labels
    readonly parametersRef?: ObjectReferenceSpec
  }
  readonly allowedListeners?: {
    readonly namespaces?: {
      readonly from?: 'All' | 'Selector' | 'Same' | 'None'
      readonly selector?: SelectorSpec
    }
  }
  readonly tls?: {
    readonly backend?: { readonly clientCertificateRef?: ObjectReferenceSpec }
    readonly frontend?: {
      readonly default?: FrontendValidationSpec
      readonly perPort?: readonly {
        readonly port?: number
        readonly tls?: FrontendValidationSpec
      }[]
    }
  }
  readonly defaultScope?: 'All' | 'None'
}

export interface ListenerSetSpec {
  readonly parentRef?: ParentRefSpec
  readonly listeners?: readonly ListenerSpec[]
}
