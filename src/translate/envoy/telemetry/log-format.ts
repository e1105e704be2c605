/** What a line of the access log says when the mesh's configuration does not: Istio's own order. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { LogFormat } from '../../../model/index.ts'
import { type extension, substitutionFormat, withoutQuery } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { textSource, typedExtension } from '../policies/filters.ts'

const path = '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%'

/** Key of the JSON form → operator; the text form has the same operators. */
export const defaultJson: Readonly<Record<string, string>> = {
  start_time: '%START_TIME%',
  method: '%REQ(:METHOD)%',
  path,
  protocol: '%PROTOCOL%',
  response_code: '%RESPONSE_CODE%',
  response_flags: '%RESPONSE_FLAGS%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration: '%DURATION%',
  upstream_service_time: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  x_forwarded_for: '%REQ(X-FORWARDED-FOR)%',
  user_agent: '%REQ(USER-AGENT)%',
  request_id: '%REQ(X-REQUEST-ID)%',
  authority: '%REQ(:AUTHORITY)%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  upstream_local_address: '%UPSTREAM_LOCAL_ADDRESS%',
  downstream_local_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
  downstream_remote_address: '%DOWNSTREAM_REMOTE_ADDRESS%',
  requested_server_name: '%REQUESTED_SERVER_NAME%',
  route_name: '%ROUTE_NAME%',
}

/** Which of them stand in quotes, because they may have blanks. */
const quoted = new Set([
  'upstream_transport_failure_reason',
  'x_forwarded_for',
  'user_agent',
  'request_id',
  'authority',
  'upstream_host',
])

export const defaultText = textOf(defaultJson)

function textOf(operators: Readonly<Record<string, string>>): string {
  const {
    start_time: time = '',
    method = '',
    path: target = '',
    protocol = '',
    ...rest
  } = operators
  const others = Object.entries(rest).map(([key, operator]) =>
    quoted.has(key) ? `"${operator}"` : operator,
  )
  return `[${time}] "${method} ${target} ${protocol}" ${others.join(' ')}\n`
}

/** Lines end, whatever the author wrote. */
export function asLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}

/** The JSON form of a format, when it has one; an empty object means the default. */
export function jsonOf(labels: unknown): JsonObject | undefined {
  if (typeof labels !== 'object' || labels === null || Array.isArray(labels)) return undefined
  // Configuration is read from YAML or JSON, so an object there is JSON.
  const object = labels as JsonObject
  return Object.keys(object).length === 0 ? { ...defaultJson } : object
}

/** A provider's format, or the default's text. */
export function substitution(
  format: LogFormat | undefined,
  omitEmptyValues = false,
): substitutionFormat.SubstitutionFormatString {
  const labels = format === undefined ? undefined : jsonOf(format.labels)
  if (labels !== undefined) return jsonSubstitution(labels, omitEmptyValues)
  const text = format?.text ?? ''
  return textSubstitution(text === '' ? defaultText : asLine(text), omitEmptyValues)
}

export function textSubstitution(
  text: string,
  omitEmptyValues = false,
): substitutionFormat.SubstitutionFormatString {
  return create(substitutionFormat.SubstitutionFormatStringSchema, {
    format: { case: 'textFormatSource', value: textSource(text) },
    omitEmptyValues,
    formatters: formattersFor(text),
  })
}

export function jsonSubstitution(
  labels: JsonObject,
  omitEmptyValues = false,
): substitutionFormat.SubstitutionFormatString {
  return create(substitutionFormat.SubstitutionFormatStringSchema, {
    format: { case: 'jsonFormat', value: labels },
    omitEmptyValues,
    formatters: formattersFor(JSON.stringify(labels)),
  })
}

/** Operators that are extensions must be brought along; CEL and METADATA are built in. */
export function formattersFor(text: string): extension.TypedExtensionConfig[] {
  if (!text.includes('%REQ_WITHOUT_QUERY')) return []
  return [
    typedExtension(
      'envoy.formatter.req_without_query',
      withoutQuery.ReqWithoutQuerySchema,
      create(withoutQuery.ReqWithoutQuerySchema),
    ),
  ]
}
