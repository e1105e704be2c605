/** Registry, controllers and a fake kubelet together, with kubectl, and with time that tests can move. */
import { type Component, FakeClock, silentLogger, systemClock } from '../../src/base/index.ts'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { type ClosableKubeClient, createKubeClient } from '../../src/client/index.ts'
import { createControllers } from '../../src/controllers/index.ts'
import type { KubeObject } from '../../src/kube/index.ts'
import { FakeKubelet } from './fake-kubelet.ts'
import { RegistryHarness } from './harness.ts'

/** Objects of many kinds, looked into by path. */
export type Loose = KubeObject<Record<string, unknown>, Record<string, unknown>>

export class ControllersKit {
  readonly harness: RegistryHarness
  readonly client: ClosableKubeClient
  readonly kubelet: FakeKubelet
  /** The controllers' clock: stands still until it is advanced. */
  readonly clock: FakeClock
  readonly #controllers: Component

  private constructor(parts: {
    harness: RegistryHarness
    client: ClosableKubeClient
    kubelet: FakeKubelet
    clock: FakeClock
    controllers: Component
  }) {
    this.harness = parts.harness
    this.client = parts.client
    this.kubelet = parts.kubelet
    this.clock = parts.clock
    this.#controllers = parts.controllers
  }

  static async start(version: KubectlVersion = '1.35'): Promise<ControllersKit> {
    const harness = await RegistryHarness.start(version)
    const { registry } = harness
    const client = createKubeClient({
      server: harness.url,
      caPem: () => registry.caCertificatePem,
      certificate: () => registry.adminCredentials,
      clock: systemClock,
    })
    const clock = new FakeClock(Date.now())
    const controllers = createControllers({
      client,
      clock,
      logger: silentLogger,
      caPem: registry.caCertificatePem,
    })
    await controllers.start()
    const kubelet = new FakeKubelet(client)
    await kubelet.start()
    return new ControllersKit({ harness, client, kubelet, clock, controllers })
  }

  async stop(): Promise<void> {
    await this.kubelet.stop()
    await this.#controllers.stop()
    this.client.close()
    await this.harness.stop()
  }

  kubectl(line: string, input?: string): Promise<string> {
    return this.harness.kubectl(line, input)
  }

  /** Applies YAML. */
  apply(yaml: string): Promise<string> {
    return this.harness.kubectl('apply -f -', yaml)
  }

  /** Moves the controllers' time, a second at a time, with room for what falls due. */
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.clock.advance(1000)
      if (second % 10 === 0) await new Promise((done) => setTimeout(done, 1))
    }
  }

  async get(resource: string, name: string): Promise<Loose> {
    return JSON.parse(await this.kubectl(`get ${resource} ${name} -o json`)) as Loose
  }

  /** `Reason: message` of the events about an object. */
  async events(name: string): Promise<string[]> {
    const text = await this.kubectl(
      `get events -o json --field-selector involvedObject.name=${name}`,
    )
    const { items } = JSON.parse(text) as { items: { reason: string; message: string }[] }
    return items.map(({ reason, message }) => `${reason}: ${message}`)
  }
}

/** Tries until it doesn't throw; the last failure is the test's. */
export async function eventually<T>(attempt: () => Promise<T> | T, timeoutMs = 8_000): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((done) => setTimeout(done, 20))
    }
  }
}

export interface TestCondition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
}

export function conditionsOf(object: Loose): TestCondition[] {
  return (object.status?.['conditions'] ?? []) as TestCondition[]
}

export function conditionTypes(object: Loose): string[] {
  return conditionsOf(object)
    .filter(({ status }) => status === 'True')
    .map(({ type }) => type)
}
