/** The embedded Kubernetes-compatible API server. */
export type { WebhookAddress, WebhookDialer } from './admission/webhooks/dial.ts'
export type {
  ExecOptions,
  ExecSession,
  LogOptions,
  PodBackend,
  PodReference,
  ResourceUsage,
  UsageReport,
} from './backend.ts'
export { backupPath } from './http/backup.ts'
export { createRegistry, type Registry, type RegistryOptions } from './registry.ts'
export {
  type BackupInfo,
  backupDatabase,
  inspectBackup,
  type Restored,
  restoreDatabase,
} from './store/backup.ts'
