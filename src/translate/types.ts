/** What the translation makes. Structurally the `EncodedResource` of the xDS server's contract. */

export interface TranslatedResource {
  readonly name: string
  readonly typeUrl: string
  /** Hash of the content. */
  readonly version: string
  /** The serialized message. */
  readonly bytes: Uint8Array
  readonly aliases?: readonly string[]
  /** Names of the resources which this one comes along with: the services of a workload. */
  readonly belongsTo?: readonly string[]
}
