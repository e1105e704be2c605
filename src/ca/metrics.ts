/** What the authority counts, under Istio's names; the composition root maps them to its registry. */
export type CaCounter =
  | 'citadel_server_csr_count'
  | 'citadel_server_success_cert_issuance_count'
  | 'citadel_server_authentication_failure_count'
  | 'citadel_server_csr_parsing_err_count'
  | 'citadel_server_id_extraction_err_count'
  | 'citadel_server_csr_sign_err_count'

export type CaGauge =
  | 'citadel_server_root_cert_expiry_timestamp'
  | 'citadel_server_cert_chain_expiry_timestamp'

export interface CaMetrics {
  count(name: CaCounter): void
  /** Timestamps are seconds since the epoch. */
  set(name: CaGauge, value: number): void
}

export const noMetrics: CaMetrics = { count: () => {}, set: () => {} }
