/** What tests of waypoints and gateways share: programs that call each other, calls from inside, `weft waypoint`. */
import assert from 'node:assert/strict'
import { pods } from './kit.ts'
import { eventually, type Mesh, type Ran, root } from './mesh.ts'

export async function prepare(mesh: Mesh): Promise<void> {
  for (const sample of ['sleep/sleep.yaml', 'httpbin/httpbin.yaml']) {
    await mesh.kubectlOk('apply', '-n', 'bookinfo', '-f', `${root}/samples/${sample}`)
  }
  for (const name of ['sleep', 'httpbin']) {
    await mesh.kubectlOk('rollout', 'status', '-n', 'bookinfo', `deploy/${name}`, '--timeout=30s')
  }
  await eventually(async () => {
    for (const pod of await pods(mesh, 'bookinfo', 'app in (sleep,httpbin)')) {
      assert.equal(pod.redirection, 'enabled')
    }
  })
}

/** `<status> <body>` of a request from the sleep pod; 000 when there was no answer. */
export async function call(mesh: Mesh, url: string, ...flags: string[]): Promise<string> {
  const line = `curl -sS -m 8 -w " %{http_code}" ${flags.join(' ')} ${url}`
  const { stdout, stderr } = await mesh.exec('bookinfo', 'deploy/sleep', line)
  const status = stdout.slice(stdout.lastIndexOf(' ') + 1)
  return `${status} ${stdout.slice(0, stdout.lastIndexOf(' '))}${status === '000' ? stderr : ''}`
}

export function waypoint(mesh: Mesh, ...args: string[]): Promise<Ran> {
  return mesh.weft(['waypoint', ...args, '--mesh', mesh.name])
}

export async function ok(ran: Promise<Ran>): Promise<string> {
  const { code, stdout, stderr } = await ran
  assert.equal(code, 0, stderr + stdout)
  return stdout
}
