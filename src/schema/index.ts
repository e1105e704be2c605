/** Schemas of built-in and custom kinds: loading, validation, pruning, defaults, OpenAPI; no I/O but the bundles. */
export { builtinDefaults } from './builtin/defaults.ts'
export { addServiceAccountVolume, podSpecDefaults, qosClassOf } from './builtin/pod-defaults.ts'
export { builtinValidation } from './builtin/validation.ts'
export { type BuiltinCrdOptions, builtinCrds } from './builtin-crds.ts'
export { listKey } from './list-types.ts'
export { type OpenApiResource, openApiDocument } from './openapi-document.ts'
export { fromOpenApi, toOpenApi } from './openapi-node.ts'
export { compilePattern } from './patterns.ts'
export {
  type DecodedObject,
  decodeKubernetesProtobuf,
  type ExpectedKind,
  kubernetesProtobufType,
} from './protobuf/index.ts'
export { checkRules } from './rules/check.ts'
export { validateCustomResource } from './rules/custom.ts'
export { validateRules } from './rules/evaluate.ts'
export { blocksRules, hasRules, rulesNotChecked } from './rules.ts'
export { applyDefaults } from './schema-defaults.ts'
export { type CrdObject, loadBuiltinSchemas, SchemaRegistry } from './schema-registry.ts'
export type * from './types.ts'
export { prune, unknownFields } from './unknown-fields.ts'
export { decodingFailure, validate } from './validate.ts'
