/** Question and answer of a layer 4 decision. */

export interface L4Identity {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** One connection, as the proxy of the destination sees it. */
export interface L4Request {
  /** From the client's certificate; absent for plaintext. */
  readonly sourceIdentity?: L4Identity | undefined
  readonly sourceIp: string
  /** The pod's own, also for a connection that came through HBONE. */
  readonly destinationIp: string
  /** The application's port, never 15008. */
  readonly destinationPort: number
  readonly destinationNamespace: string
  /** Keys `<namespace>/<name>` of the selector policies which the destination workload lists. */
  readonly workloadPolicies: readonly string[]
}

export interface L4Options {
  /** Also say which policies were looked at and why each did not match. */
  readonly provenance?: boolean
}

/**
 * - `allowed-no-policy`: no ALLOW policy applies, and no DENY policy matched
 * - `allowed`: an ALLOW policy matched
 * - `denied-by`: a DENY policy matched
 * - `denied-no-match`: ALLOW policies apply, none matched
 */
export type L4Reason = 'allowed-no-policy' | 'allowed' | 'denied-by' | 'denied-no-match'

export interface L4Verdict {
  readonly allowed: boolean
  readonly reason: L4Reason
  /** `<namespace>/<name>` of the policy that decided. */
  readonly policy?: string
  /** Index of the rule in that policy. */
  readonly rule?: number
}

/** The object behind a policy. */
export interface L4Origin {
  /** `/apis/<group>/<version>/namespaces/<namespace>/<kind>/<name>` */
  readonly config: string
  /** Index of the rule in that object. */
  readonly rule?: number
}

export interface L4Decision extends L4Verdict {
  /** The dry-run policies that apply to the request; they had no part in the verdict. */
  readonly dryRun?: readonly L4DryRun[]
  /** With dry-run policies: what the verdict would be if they were in force. */
  readonly withDryRun?: L4Verdict
  /** With `provenance`: the object behind the policy that decided, when the control plane says. */
  readonly origin?: L4Origin
  /** With `provenance`: in the order of evaluation. */
  readonly considered?: readonly L4Considered[]
  /** With `provenance`: listed policies which the engine does not have; they were skipped. */
  readonly unknownPolicies?: readonly string[]
}

export interface L4DryRun {
  readonly policy: string
  readonly action: 'ALLOW' | 'DENY'
  /** Index of the rule that matched; absent: none did. */
  readonly matchedRule?: number
}

export interface L4Considered {
  readonly policy: string
  readonly action: 'ALLOW' | 'DENY'
  readonly dryRun: boolean
  /** Index of the rule that matched. */
  readonly matchedRule?: number
  /** The object behind it, when the control plane says. */
  readonly origin?: L4Origin
  /** For a policy that did not match: what failed first, for every rule. */
  readonly misses: readonly L4Miss[]
}

export interface L4Miss {
  readonly rule: number
  /** Index of the clause that failed. */
  readonly clause: number
  /** The attribute of each match of that clause which did not hold, such as `principals`. */
  readonly attributes: readonly string[]
}
