/**
 * SPIFFE ids of workloads. Only the five-part shape of Istio is an identity here; anything else in a
 * certificate (other paths, queries, escapes) is not, so that no two texts mean one identity.
 */
import { notSpiffe } from './errors.ts'
import { limits } from './limits.ts'

export interface SpiffeId {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

const shape = /^spiffe:\/\/([A-Za-z0-9._-]+)\/ns\/([A-Za-z0-9._-]+)\/sa\/([A-Za-z0-9._-]+)$/

/** Undefined when the text is not exactly `spiffe://<td>/ns/<ns>/sa/<sa>`. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > limits.uriCharactersMax) return undefined
  const [, trustDomain, namespace, serviceAccount] = shape.exec(text) ?? []
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) {
    return undefined
  }
  return { trustDomain, namespace, serviceAccount }
}

/** The text form. Throws when a part can't be in one. */
export function formatSpiffeId(id: SpiffeId): string {
  const text = `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`
  if (parseSpiffeId(text) === undefined) throw notSpiffe(text)
  return text
}
