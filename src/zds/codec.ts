/** ZDS messages to and from bytes: one protobuf message a packet, no framing. */
import { MeshError, toError } from '../base/index.ts'
import { create, fromBinary, toBinary, zdsproto } from '../proto/index.ts'
import { limits } from './limits.ts'
import type { ZdsRequest } from './types.ts'

export function encodeHello(): Uint8Array {
  const hello = create(zdsproto.ZdsHelloSchema, { version: zdsproto.Version.V1 })
  return toBinary(zdsproto.ZdsHelloSchema, hello)
}

/** Throws unless it is a hello of a version that we speak. */
export function decodeHello(bytes: Uint8Array): void {
  const { version } = parse('hello', () => fromBinary(zdsproto.ZdsHelloSchema, bytes))
  if (version !== zdsproto.Version.V1) {
    throw new MeshError(
      'ZDS_VERSION',
      `the proxy speaks ZDS version ${version}; this agent speaks 1`,
      {
        hint: 'Install a node proxy and an agent of one release.',
      },
    )
  }
}

export function encodeRequest(request: ZdsRequest): Uint8Array {
  const message = create(zdsproto.WorkloadRequestSchema, { payload: payloadOf(request) })
  return toBinary(zdsproto.WorkloadRequestSchema, message)
}

function payloadOf(request: ZdsRequest) {
  switch (request.kind) {
    case 'add':
      return {
        case: 'add' as const,
        value: create(zdsproto.AddWorkloadSchema, { uid: request.uid, workloadInfo: request.info }),
      }
    case 'keep':
      return {
        case: 'keep' as const,
        value: create(zdsproto.KeepWorkloadSchema, { uid: request.uid }),
      }
    case 'del':
      return {
        case: 'del' as const,
        value: create(zdsproto.DelWorkloadSchema, { uid: request.uid }),
      }
    case 'snapshotSent':
      return { case: 'snapshotSent' as const, value: create(zdsproto.SnapshotSentSchema) }
  }
}

/** Throws a MeshError that says what is wrong with the packet. */
export function decodeRequest(bytes: Uint8Array): ZdsRequest {
  const { payload } = parse('request', () => fromBinary(zdsproto.WorkloadRequestSchema, bytes))
  switch (payload.case) {
    case 'add': {
      const { uid, workloadInfo } = payload.value
      if (workloadInfo === undefined) throw bad(`add of "${uid}" has no workload_info`)
      const { name, namespace, serviceAccount } = workloadInfo
      return { kind: 'add', uid: named(uid, 'add'), info: { name, namespace, serviceAccount } }
    }
    case 'keep':
    case 'del':
      return { kind: payload.case, uid: named(payload.value.uid, payload.case) }
    case 'snapshotSent':
      return { kind: 'snapshotSent' }
    default:
      throw bad('the request has no payload that this version knows')
  }
}

/** @param error empty: done */
export function encodeAck(error = ''): Uint8Array {
  // The text has to fit into the packet together with its tags.
  const text = new TextDecoder().decode(
    new TextEncoder().encode(error).subarray(0, limits.packetBytes - 64),
  )
  const response = create(zdsproto.WorkloadResponseSchema, {
    payload: { case: 'ack', value: create(zdsproto.AckSchema, { error: text }) },
  })
  return toBinary(zdsproto.WorkloadResponseSchema, response)
}

/** The error of an ack; empty when there was none. */
export function decodeAck(bytes: Uint8Array): string {
  const { payload } = parse('response', () => fromBinary(zdsproto.WorkloadResponseSchema, bytes))
  if (payload.case !== 'ack') throw bad('the response is no ack')
  return payload.value.error
}

function named(uid: string, kind: string): string {
  if (uid === '') throw bad(`${kind} has no uid`)
  return uid
}

function parse<T>(what: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    throw bad(`the ${what} is no valid message: ${toError(error).message}`)
  }
}

function bad(message: string): MeshError {
  return new MeshError('ZDS_BAD_PACKET', `ZDS: ${message}`, {
    hint: 'Is the program at the other end of the socket an Istio node agent or node proxy?',
  })
}
