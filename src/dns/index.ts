/** DNS: messages on the wire, a server over given sockets, and one exchange with a name server. */
export * from './exchange.ts'
export * from './message.ts'
export { canonicalName } from './names.ts'
export { addressRecord, type DnsRecord, type RecordData, recordTypes } from './records.ts'
export * from './server.ts'
