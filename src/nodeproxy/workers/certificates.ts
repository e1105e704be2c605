/**
 * The certificates as a worker sees them: kept by the main thread, asked for once, and replaced when
 * they are renewed. The same object is handed out until then, because TLS contexts hang on it.
 */
import type { Clock } from '../../base/index.ts'
import type { FetchPriority, WorkloadCertificate } from '../../identity/index.ts'
import type { CertificateProvider } from '../pod.ts'
import type { FromWorker } from './messages.ts'

type Post = (message: FromWorker) => void

export class RemoteCertificates implements CertificateProvider {
  readonly #clock: Clock
  readonly #post: Post
  readonly #held = new Map<string, WorkloadCertificate>()
  readonly #waiting = new Map<number, PromiseWithResolvers<WorkloadCertificate>>()
  readonly #asked = new Map<string, Promise<WorkloadCertificate>>()
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>()
  #nextId = 1

  constructor(clock: Clock, post: Post) {
    this.#clock = clock
    this.#post = post
  }

  fetch(identity: string, priority: FetchPriority = 'realtime'): Promise<WorkloadCertificate> {
    const held = this.#held.get(identity)
    if (held !== undefined && held.notAfter > this.#clock.now()) return Promise.resolve(held)
    // A warm-up that is under way must not keep a connection waiting: urgency is passed on.
    const asked = priority === 'realtime' ? undefined : this.#asked.get(identity)
    if (asked !== undefined) return asked
    const id = this.#nextId++
    const waiter = Promise.withResolvers<WorkloadCertificate>()
    this.#waiting.set(id, waiter)
    this.#asked.set(identity, waiter.promise)
    this.#post({ kind: 'fetch', id, identity, priority })
    const done = (): void => {
      if (this.#asked.get(identity) === waiter.promise) this.#asked.delete(identity)
    }
    waiter.promise.then(done, done)
    return waiter.promise
  }

  onChange(listener: (certificate: WorkloadCertificate) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  forget(identity: string): void {
    this.#held.delete(identity)
    this.#post({ kind: 'forget', identity })
  }

  /** The main thread's answer to a `fetch`. */
  answer(id: number, certificate: WorkloadCertificate | undefined, error: string): void {
    const waiter = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (certificate === undefined) waiter?.reject(new Error(error))
    else waiter?.resolve(this.#keep(certificate))
  }

  /** A certificate that the main thread got anew; only of interest when the old one is in use. */
  renewed(certificate: WorkloadCertificate): void {
    if (!this.#held.has(certificate.identity)) return
    const kept = this.#keep(certificate)
    for (const listener of this.#listeners) listener(kept)
  }

  #keep(certificate: WorkloadCertificate): WorkloadCertificate {
    const held = this.#held.get(certificate.identity)
    if (held?.serial === certificate.serial) return held
    this.#held.set(certificate.identity, certificate)
    return certificate
  }
}
