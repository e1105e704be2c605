/** `weft run`: commands of this machine as pods of the mesh, as root and as an unprivileged user. */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { cannotRun, eventually, Mesh, type Ran, weft } from './mesh.ts'

const server = `require('http').createServer((request, response) => {
  console.log('asked for', request.url)
  response.end('hello ' + process.env.WHO)
}).listen(8080)
process.on('SIGTERM', () => { console.log('bye'); process.exit(0) })
`

for (const user of ['root', 'nobody'] as const) {
  describe(`weft run as ${user}`, { skip: cannotRun() }, () => {
    let mesh: Mesh
    let folder: string
    const inFolder = 'cd "$1" && shift && exec "$@"'
    const words = (args: readonly string[]): string[] =>
      ['-c', inFolder, 'sh', folder, weft, 'run', '--name', mesh.name].concat(args)
    const run = (...args: string[]): Promise<Ran> => mesh.run('sh', words(args))
    const start = async (ready: RegExp, ...args: string[]): Promise<Started> =>
      new Started(mesh.spawn('sh', words(args))).until(ready)

    before(async () => {
      mesh = await Mesh.up({ user, sample: 'none' })
      folder = join(mesh.stateHome, 'app')
      mkdirSync(folder)
      // As root, too, the folder is somebody's: pods never run as root.
      chownSync(folder, 65534, 65534)
      chmodSync(folder, 0o755)
      writeFileSync(join(folder, 'server.js'), server)
    })
    after(async () => {
      await mesh?.stop()
    })

    test('output, working folder and exit code are the command’s; what it writes stays; no pod is left', async () => {
      const ran = await run('--', 'sh', '-c', 'pwd; cat server.js >copy.js; echo $((40+2)); exit 7')
      assert.deepEqual([ran.code, ran.stdout], [7, `${folder}\n42\n`], ran.stderr)
      assert.equal(readFileSync(join(folder, 'copy.js'), 'utf8'), server)
      assert.equal(statSync(join(folder, 'copy.js')).uid, 65534)
      assert.equal(await mesh.kubectlOk('get', 'pods', '-o', 'name'), '')
    })

    test('a server is a meshed pod behind a Service, until Ctrl-C removes both', async () => {
      const flags = [
        '--pod',
        'web',
        '--port',
        '80:8080/http',
        '--env',
        'WHO=you',
        '--label',
        'tier=front',
      ]
      const web = await start(
        /runs as default\/sa\/default.*web\.default:80/,
        ...flags,
        '--',
        'node',
        'server.js',
      )
      const curl = ['--', 'curl', '-sS', '-m', '5', 'http://web.default/page']
      const inside = await run('--pod', 'caller', ...curl)
      assert.deepEqual([inside.code, inside.stdout.trim()], [0, 'hello you'], inside.stderr)
      const outside = await run('--not-meshed', ...curl)
      assert.equal(outside.stdout.trim(), 'hello you', outside.stderr)
      await eventually(() => assert.match(web.output, /asked for \/page/))
      const pod = await mesh.kubectlOk('get', 'pod', 'web', '-o', 'jsonpath={.metadata}')
      assert.match(pod, /"ambient.istio.io\/redirection":"enabled"/)
      assert.match(pod, /"tier":"front"/)
      const log = await mesh.kubectlOk('logs', '-n', 'istio-system', 'ds/ztunnel')
      assert.match(
        log,
        /src\.workload="?caller.*src\.identity="?spiffe:\/\/cluster\.local\/ns\/default\/sa\/default/,
      )
      web.child.kill('SIGINT')
      assert.equal(await web.exit, 130, web.output)
      assert.match(web.output, /bye/)
      assert.equal(await mesh.kubectlOk('get', 'pods', '-o', 'name'), '')
      assert.equal(await mesh.kubectlOk('get', 'services', '-o', 'name'), 'service/kubernetes\n')
    })

    test('STRICT keeps out what runs outside of the mesh', async () => {
      await mesh.apply(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
`)
      const web = await start(
        /runs as/,
        '--pod',
        'web',
        '--port',
        '8080',
        '--',
        'node',
        'server.js',
      )
      const curl = ['--', 'curl', '-sS', '-m', '5', '-o', '/dev/null', 'http://web.default:8080/']
      await eventually(async () => assert.notEqual((await run('--not-meshed', ...curl)).code, 0))
      assert.equal((await run(...curl)).code, 0)
      web.child.kill('SIGINT')
      await web.exit
      await mesh.kubectlOk('delete', 'peerauthentication', 'strict')
    })

    test('detached it prints the pod and stays, also through down and up', async () => {
      await mesh.kubectlOk('create', 'serviceaccount', 'db')
      const flags = ['--pod', 'db', '--service-account', 'db', '--port', '8080', '-o', 'json']
      const ran = await run(...flags, '--', 'node', 'server.js')
      assert.equal(ran.code, 0, ran.stderr)
      const pod = JSON.parse(ran.stdout) as { kind: string; spec: { serviceAccountName: string } }
      assert.deepEqual([pod.kind, pod.spec.serviceAccountName], ['Pod', 'db'])
      const call = (): Promise<Ran> => run('--', 'curl', '-sS', '-m', '5', 'http://db:8080/')
      assert.match((await call()).stdout, /^hello/)
      await mesh.weft(['down', '--name', mesh.name])
      const up = await mesh.weft(mesh.upArguments())
      assert.equal(up.code, 0, up.stderr)
      await eventually(async () => assert.match((await call()).stdout, /^hello/), 30_000)
      await mesh.kubectlOk('delete', 'pod', 'db')
      await eventually(async () =>
        assert.equal(await mesh.kubectlOk('get', 'services', '-o', 'name'), 'service/kubernetes\n'),
      )
    })

    test('what can’t be run is refused with the reason, and leaves nothing', async () => {
      const cases: [string[], number, RegExp][] = [
        [['--', 'no-such-program'], 127, /no program "no-such-program" on the PATH/],
        [['--', './server.js'], 127, /server\.js does not exist or is not executable\n.*node/],
        [['-n', 'nowhere', '--', 'true'], 1, /"nowhere" not found\nMake the namespace first/],
        [['--service-account', 'nobody', '--', 'true'], 1, /kubectl create serviceaccount/],
        [['--env', 'NO_SUCH_VARIABLE', '--', 'true'], 2, /NO_SUCH_VARIABLE is not set/],
        [['--port', '70000', '--', 'true'], 2, /'70000' is invalid/],
        [['--mount', '/no/such', '--', 'true'], 2, /\/no\/such does not exist/],
      ]
      for (const [args, code, text] of cases) {
        const ran = await run(...args)
        assert.equal(ran.code, code, `${args.join(' ')}: ${ran.stderr}`)
        assert.match(ran.stderr, text)
      }
      assert.equal(await mesh.kubectlOk('get', 'pods', '-o', 'name'), '')
    })

    test('kubectl gets its flags unharmed, and logs find a part, a file and a pod by its beginning', async () => {
      const own = (...args: string[]): Promise<Ran> => mesh.weft(args)
      const name = ['--name', mesh.name]
      const pods = await own('kubectl', ...name, '-n', 'istio-system', 'get', 'pods', '-o', 'name')
      assert.match(pods.stdout, /^pod\/istiod-/m, pods.stderr)
      assert.equal((await own('kubectl', ...name, 'get', 'pod', 'none')).code, 1)
      const help = await own('kubectl', ...name, 'get', '--help')
      assert.match(help.stdout, /kubectl get/)
      assert.match((await own('logs', ...name, 'ztunnel')).stdout, /control plane/)
      assert.match((await own('logs', ...name, 'broker', '--tail', '1')).stdout, /^.+\n$/)
      const byName = await own('logs', ...name, '-n', 'istio-system', 'istiod-')
      assert.equal(byName.code, 0, byName.stderr)
      const missing = await own('logs', ...name, '-n', 'istio-system', 'zzz')
      assert.equal(missing.code, 1)
      assert.match(
        missing.stderr,
        /no pod "zzz" in the namespace istio-system\nPods there: .*istiod-/,
      )
    })

    test('a folder that holds the mesh’s keys is not shown to a pod that could read them', async () => {
      // The kit's commands start in the state home.
      const ran = await mesh.weft(['run', '--name', mesh.name, '--', 'cat', `${mesh.kubeconfig}`])
      assert.notEqual(ran.code, 0, ran.stdout)
      assert.match(
        ran.stderr + ran.stdout,
        user === 'nobody' ? /holds the mesh's own keys/ : /is for root alone/,
      )
      assert.doesNotMatch(ran.stdout, /client-key/)
    })
  })
}

class Started {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  output = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.on('data', (chunk) => (this.output += String(chunk)))
    child.stderr?.on('data', (chunk) => (this.output += String(chunk)))
    this.exit = new Promise((done) => child.once('exit', done))
  }

  async until(text: RegExp): Promise<this> {
    await eventually(() => assert.match(this.output, text))
    return this
  }
}
