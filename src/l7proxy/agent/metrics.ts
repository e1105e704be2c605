/**
 * Istio's names for what Envoy counts: its stats logger puts a prefix of its own in front of the names that it is
 * given, and scrapers, dashboards and alerts look for the names without it.
 */
import { Transform, type TransformCallback } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { limits } from './limits.ts'

const prefixed = /^((?:# (?:TYPE|HELP) )?)envoy_istio_(istio_)/

/** One line of Prometheus' text, as scrapers shall see it. */
export function istioName(line: string): string {
  return line.replace(prefixed, '$1$2')
}

/** A page of any length, line by line. */
export class IstioNames extends Transform {
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    const text = this.#rest + this.#decoder.write(chunk)
    const end = text.lastIndexOf('\n') + 1
    this.#rest = text.slice(end)
    if (this.#rest.length > limits.metricsLineMax) {
      done(new Error(`a line of Envoy's metrics is longer than ${limits.metricsLineMax}`))
      return
    }
    done(null, renamed(text.slice(0, end)))
  }

  override _flush(done: TransformCallback): void {
    done(null, renamed(this.#rest + this.#decoder.end()))
  }
}

function renamed(text: string): string {
  if (!text.includes('envoy_istio_istio_')) return text
  return text.split('\n').map(istioName).join('\n')
}
