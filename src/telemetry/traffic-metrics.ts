/** Istio's TCP metrics, counted per connection through handles. */
import type { CounterChild, Family, MetricsRegistry } from '../metrics/index.ts'
import { type ResponseFlag, type Traffic, trafficLabelNames, trafficLabels } from './labels.ts'

export class TrafficMetrics {
  readonly #opened: Family<CounterChild>
  readonly #closed: Family<CounterChild>
  readonly #sent: Family<CounterChild>
  readonly #received: Family<CounterChild>
  readonly #failed: Family<CounterChild>

  constructor(registry: MetricsRegistry) {
    const labels = trafficLabelNames
    const counter = (name: string, help: string): Family<CounterChild> =>
      registry.counter(`istio_tcp_${name}_total`, help, { labels })
    this.#opened = counter('connections_opened', 'TCP connections opened.')
    this.#closed = counter('connections_closed', 'TCP connections closed.')
    this.#received = counter('received_bytes', 'Bytes from clients to servers.')
    this.#sent = counter('sent_bytes', 'Bytes from servers to clients.')
    this.#failed = counter('connections_failed', 'TCP connections that failed (unstable).')
  }

  /** Counts an opened connection; `close` of the result must follow. */
  open(traffic: Traffic): ConnectionCounters {
    const values = trafficLabels(traffic)
    this.#opened.child(...values).inc()
    return new ConnectionCounters(
      this.#received.child(...values),
      this.#sent.child(...values),
      this.#closed.child(...values),
      (flag) => this.fail(traffic, flag),
    )
  }

  fail(traffic: Traffic, flag: ResponseFlag): void {
    this.#failed.child(...trafficLabels(traffic, flag)).inc()
  }
}

/**
 * Counters of one connection. Both reporters count from the server's point of view: received is
 * what the client sent.
 */
export class ConnectionCounters {
  /** Bytes from client to server. */
  forward = 0
  /** Bytes from server to client. */
  backward = 0
  readonly #received: CounterChild
  readonly #sent: CounterChild
  readonly #closed: CounterChild
  readonly #fail: (flag: ResponseFlag) => void

  constructor(
    received: CounterChild,
    sent: CounterChild,
    closed: CounterChild,
    fail: (flag: ResponseFlag) => void,
  ) {
    this.#received = received.hold()
    this.#sent = sent.hold()
    this.#closed = closed.hold()
    this.#fail = fail
  }

  addForward(bytes: number): void {
    this.forward += bytes
    this.#received.inc(bytes)
  }

  addBackward(bytes: number): void {
    this.backward += bytes
    this.#sent.inc(bytes)
  }

  /** @param flag given when the connection failed */
  close(flag?: ResponseFlag): void {
    this.#closed.inc()
    if (flag !== undefined) this.#fail(flag)
    for (const child of [this.#received, this.#sent, this.#closed]) child.release()
  }
}
