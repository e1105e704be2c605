/** The kubeconfig of the administrator. It carries a private key, so only its owner may read it. */
import { stringify } from 'yaml'
import { type KeyPair, writePrivate } from './auth/pki.ts'

export interface KubeconfigOptions {
  /** The mesh's name; context, cluster and user are called `weft-<name>`. */
  readonly name: string
  readonly serverUrl: string
  readonly authorityPem: string
  readonly admin: KeyPair
}

export function kubeconfigText(options: KubeconfigOptions): string {
  const name = `weft-${options.name}`
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64')
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [
      {
        name,
        cluster: {
          server: options.serverUrl,
          'certificate-authority-data': base64(options.authorityPem),
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name, namespace: 'default' } }],
    users: [
      {
        name,
        user: {
          'client-certificate-data': base64(options.admin.certPem),
          'client-key-data': base64(options.admin.keyPem),
        },
      },
    ],
  })
}

export async function writeKubeconfig(path: string, options: KubeconfigOptions): Promise<void> {
  await writePrivate(path, kubeconfigText(options))
}
