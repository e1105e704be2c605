/** Request bodies of type `application/vnd.kubernetes.protobuf`. */
export { type ProtobufBundle, readProtobufBundle } from './bundle.ts'
export {
  type DecodedObject,
  decodeKubernetesProtobuf,
  type ExpectedKind,
  kubernetesProtobufType,
  protobufDecoder,
} from './decode.ts'
