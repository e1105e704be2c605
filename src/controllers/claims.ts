/** PersistentVolumeClaims stay Pending here: nobody provisions volumes, and an event says so. */
import type { Component } from '../base/index.ts'
import type { Informer } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'

type Claim = KubeObject<{ volumeName?: string }, { phase?: string }>

const sentence =
  'standalone mode has no volumes to give: the claim stays Pending, and so do pods that use it. ' +
  'Use an emptyDir or a hostPath volume instead'

export class ClaimNotices implements Component {
  readonly #context: ControllerContext
  readonly #claims: Informer<Claim>
  #remove: (() => void) | undefined

  constructor(context: ControllerContext) {
    this.#context = context
    this.#claims = context.informers.of(resources.persistentvolumeclaims)
  }

  async start(): Promise<void> {
    this.#remove = this.#claims.on({
      added: (claim) => {
        if ((claim.status?.phase ?? 'Pending') !== 'Pending') return
        this.#context.events.record(claim, 'Warning', 'ProvisioningUnavailable', sentence)
      },
    })
  }

  async stop(): Promise<void> {
    this.#remove?.()
  }
}
