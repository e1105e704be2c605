/** ReferenceGrants: whether an object may refer to one of another namespace. */
import type { ObjectReferenceSpec } from '../../model/index.ts'
import type { Reader } from '../reader.ts'

/** Who refers; always a kind of Gateway API. */
export interface Referrer {
  readonly kind: string
  readonly namespace: string
}

const gatewayGroup = 'gateway.networking.k8s.io'

/** @param reference with the group and kind filled in, which differ by what refers */
export function isGranted(reader: Reader, from: Referrer, reference: ObjectReferenceSpec): boolean {
  const { group = '', kind = '', name = '', namespace = from.namespace } = reference
  if (namespace === from.namespace) return true
  return reader.grants(namespace).some((grant) => {
    const fromHere = grant.from.some(
      (one) =>
        one.group === gatewayGroup && one.kind === from.kind && one.namespace === from.namespace,
    )
    const toThere = grant.to.some(
      (one) => one.group === group && one.kind === kind && (one.name === '' || one.name === name),
    )
    return fromHere && toThere
  })
}
