/**
 * For the tests that send traffic through a stock Envoy: bootstraps put together by hand around filters of
 * the translation, certificates of one authority, and a server that answers with the headers it got.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { accesslog, hcm } from '../../src/proto/envoy.ts'
import { readable } from '../../src/translate/envoy/policies/fixture.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { envoyPath } from '../../tools/envoy.ts'
import { freePort } from '../free-port.ts'

export const type = (name: string): object => ({ '@type': `type.googleapis.com/envoy.${name}` })
export const showFilter = (filter: hcm.HttpFilter): unknown =>
  readable(hcm.HttpFilterSchema, filter)
export const showLog = (log: accesslog.AccessLog): unknown =>
  readable(accesslog.AccessLogSchema, log)
export const router = {
  name: 'envoy.filters.http.router',
  typedConfig: type('extensions.filters.http.router.v3.Router'),
}

export function manager(fields: object): object {
  const typedConfig = {
    ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    statPrefix: 'test',
    ...fields,
  }
  return { name: 'manager', typedConfig }
}

export function at(portValue: number): object {
  return { socketAddress: { address: '127.0.0.1', portValue } }
}

export function cluster(name: string, endpoint: object, more: object = {}): object {
  const lbEndpoints = [endpoint]
  const loadAssignment = { clusterName: name, endpoints: [{ lbEndpoints }] }
  return { name, connectTimeout: '1s', type: 'STATIC', loadAssignment, ...more }
}

/** An Envoy with the bootstrap, and its Prometheus page. */
export class Envoy {
  readonly #home = mkdtempSync(join(tmpdir(), 'weft-envoy-'))
  #child: ChildProcess | undefined
  #admin = 0

  async start(bootstrap: object, environment: Record<string, string> = {}): Promise<void> {
    this.#admin = await freePort()
    const file = join(this.#home, 'bootstrap.json')
    writeFileSync(file, JSON.stringify({ ...bootstrap, admin: { address: at(this.#admin) } }))
    const output = openSync(join(this.#home, 'output'), 'w')
    const options = ['--config-path', file, '--concurrency', '1', '--use-dynamic-base-id']
    const levels = ['--log-level', 'warning']
    this.#child = spawn(await envoyPath(), [...options, ...levels], {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...environment },
    })
    closeSync(output)
    for (let attempt = 0; attempt < 200; attempt++) {
      if (this.#child.exitCode !== null) break
      const ready = await fetch(`http://127.0.0.1:${this.#admin}/ready`).catch(() => undefined)
      if (ready?.ok === true) return
      await sleep(50)
    }
    assert.fail(readFileSync(join(this.#home, 'output'), 'utf8').slice(-3000))
  }

  /** Lines of a metric, once there are any. */
  async series(name: string): Promise<string[]> {
    for (let attempt = 0; ; attempt++) {
      const page = await fetch(`http://127.0.0.1:${this.#admin}/stats/prometheus`)
      const lines = (await page.text()).split('\n')
      const found = lines.filter((line) => line.startsWith(`envoy_istio_${name}`))
      if (found.length > 0 || attempt > 100) return found
      await sleep(50)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child?.exitCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await ended
    }
    rmSync(this.#home, { recursive: true })
  }
}

export interface Identity {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

/** Certificates of one authority, by SPIFFE id. */
export async function authority(): Promise<(uri: string) => Promise<Identity>> {
  const keys = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const subject = { organizations: ['test'] }
  const ca = await createCaCertificate({ keys, subject, ...validity })
  return async (uri) => {
    const own = await generateEcKeyPair()
    const cert = await issueCertificate({
      issuer: { certificatePem: ca, key: keys.privateKey },
      publicKey: own.publicKey,
      names: { uris: [uri] },
      ...validity,
    })
    return { cert, key: own.privatePem, ca }
  }
}

const inline = (inlineString: string): object => ({ inlineString })

export function serverTls({ cert, key, ca }: Identity): object {
  const commonTlsContext = {
    alpnProtocols: ['h2'],
    tlsCertificates: [{ certificateChain: inline(cert), privateKey: inline(key) }],
    validationContext: { trustedCa: inline(ca) },
  }
  return {
    name: 'tls',
    typedConfig: {
      ...type('extensions.transport_sockets.tls.v3.DownstreamTlsContext'),
      requireClientCertificate: true,
      commonTlsContext,
    },
  }
}

export async function ask(
  options: http.RequestOptions,
): Promise<{ status: number | undefined; body: string; headers: http.IncomingHttpHeaders }> {
  // Without an agent, so that a connection made by the caller is used, and none is used twice.
  const agent = options.createConnection === undefined ? { agent: false } : {}
  const request = http.request({ ...agent, ...options }).end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk)
  return { status: response.statusCode, body, headers: response.headers }
}

export async function upstream(): Promise<{ port: number; server: http.Server }> {
  const port = await freePort()
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify(request.headers))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { port, server }
}

export function routes(route: object): object {
  return { virtualHosts: [{ name: 'all', domains: ['*'], routes: [route] }] }
}
