/** What is wrong with configuration: pure checks of objects, for the webhook, the CLI and status. */
export {
  alwaysRejectAnnotation,
  errorText,
  type Finding,
  type IstioObject,
  isValidatedKind,
  type Validation,
  validateObject,
} from './validate/index.ts'
