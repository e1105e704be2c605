/**
 * Pods run as a ServiceAccount: the default one when none is named, which must exist, and whose token
 * every container finds at the usual place.
 */
import type { Clock } from '../../base/index.ts'
import { forbidden, type KubeObject, nameSuffix } from '../../kube/index.ts'
import { addServiceAccountVolume } from '../../schema/index.ts'
import { limits } from '../limits.ts'
import type { ObjectStore } from '../store/objects.ts'
import { type JsonMap, mapOf, valueAt } from '../values.ts'
import type { AdmissionRequest, AdmissionStep } from './admission.ts'

const mirrorAnnotation = 'kubernetes.io/config.mirror'

export interface PodAdmissionOptions {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: () => number
}

export class PodAdmission implements AdmissionStep {
  readonly #options: PodAdmissionOptions

  constructor(options: PodAdmissionOptions) {
    this.#options = options
  }

  admit(request: AdmissionRequest, pod: KubeObject): boolean | Promise<boolean> {
    const { type, operation, subresource } = request
    if (type.group !== '' || type.resource !== 'pods') return false
    if (operation !== 'CREATE' || subresource !== undefined) return false
    if (pod.metadata.annotations?.[mirrorAnnotation] !== undefined) return false
    return this.#prepare(request, pod)
  }

  async #prepare(request: AdmissionRequest, pod: KubeObject): Promise<boolean> {
    const spec = mapOf(pod.spec)
    pod.spec = spec
    const asked = spec.serviceAccountName ?? spec.serviceAccount
    const name = typeof asked === 'string' && asked !== '' ? asked : 'default'
    spec.serviceAccountName = name
    spec.serviceAccount = name
    const account = await this.#account(request.namespace, name)
    if (account === undefined) {
      const why = `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`
      throw forbidden({ group: '', kind: 'pods', name: pod.metadata.name }, why)
    }
    const mounts =
      spec.automountServiceAccountToken ?? valueAt(account, 'automountServiceAccountToken')
    if (mounts !== false) {
      const random = (below: number): number => Math.floor(this.#options.random() * below)
      addServiceAccountVolume(pod as unknown as JsonMap, nameSuffix(random))
    }
    const secrets = valueAt(account, 'imagePullSecrets')
    if (spec.imagePullSecrets === undefined && Array.isArray(secrets))
      spec.imagePullSecrets = secrets
    return true
  }

  /** Controllers make the default account of a new namespace a moment after the namespace. */
  async #account(namespace: string, name: string): Promise<KubeObject | undefined> {
    const bucket = this.#options.store.bucket('/serviceaccounts')
    const present = bucket.latest(namespace, name)
    if (present !== undefined || name !== 'default') return present?.parse()
    return new Promise((resolve) => {
      const finish = (account: KubeObject | undefined): void => {
        timer.cancel()
        remove()
        resolve(account)
      }
      const timer = this.#options.clock.after(limits.serviceAccountWaitMs, () => finish(undefined))
      const remove = bucket.listen(({ type, entry }) => {
        if (type === 'ADDED' && entry.namespace === namespace && entry.name === name)
          finish(entry.parse())
      })
    })
  }
}
