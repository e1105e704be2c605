/**
 * What a machine lacks, what is written wrong and what is in the way: one clear message with the fix, a failing exit
 * code, and nothing lost.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { kubectlPath } from '../../tools/kubectl.ts'
import { cannotRun, eventually, Mesh, type Ran, root, weft } from './mesh.ts'

/** Every file below a folder with its content's hash and its times. */
function fingerprint(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
      const hash = entry.isFile()
        ? createHash('sha256').update(readFileSync(path)).digest('hex')
        : ''
      const { mode, mtimeMs, uid } = statSync(path)
      return `${path} ${hash} ${mode} ${mtimeMs} ${uid}`
    })
    .toSorted()
    .join('\n')
}

function refused(ran: Ran, code: number, ...texts: RegExp[]): void {
  const said = ran.stdout + ran.stderr
  assert.equal(ran.code, code, said)
  for (const text of texts) assert.match(said, text)
  // An error is a message, never a stack trace.
  assert.doesNotMatch(said, /^\s+at .*\(?.*:\d+:\d+\)?$/m)
}

describe('up refuses what can not work, before anything is started', { skip: cannotRun() }, () => {
  let mesh: Mesh
  const state = (): string => join(mesh.stateHome, 'weft', mesh.name)
  const up = (...flags: string[]): Promise<Ran> =>
    mesh.weft([...mesh.upArguments(), '--sample', 'none', ...flags])

  before(async () => {
    mesh = await Mesh.prepare()
  })
  after(async () => {
    await mesh?.stop()
  })

  test('an unknown sample is named, with those that exist', async () => {
    refused(await up('--sample', 'nope'), 1, /no sample "nope"/, /There are: bookinfo, .*none/)
    assert.ok(!existsSync(state()))
  })

  test('a weft.yaml that is no YAML is refused with file, line and column', async () => {
    const path = join(mesh.stateHome, 'weft.yaml')
    writeFileSync(path, 'images:\n  - image: a\n    command: [node, x.js\n')
    try {
      refused(await up(), 1, new RegExp(`${path}: .* at line \\d+, column \\d+`))
    } finally {
      rmSync(path)
    }
  })

  test('a wrong entry of the image file is refused with file, entry and field', async () => {
    const path = join(mesh.stateHome, 'mine.yaml')
    writeFileSync(path, 'images:\n  - {image: a, command: x}\n  - {image: b, comand: y}\n')
    refused(
      await up('--images', path),
      1,
      /mine\.yaml: images\[1\]\.comand is not known; known are/,
    )
    refused(await up('--images', '/nope.yaml'), 1, /\/nope\.yaml does not exist/)
    assert.ok(!existsSync(state()))
  })

  for (const flag of ['--registry-port', '--ingress-port'] as const) {
    test(`a taken port is named with process and user, and ${flag} changes it`, async () => {
      const port = flag === '--registry-port' ? mesh.registryPort : mesh.ingressPort
      const server = createServer().listen(port, '127.0.0.1')
      try {
        const by = new RegExp(
          `port ${port} is taken by \\S+ \\(process ${process.pid}\\) of user root`,
        )
        refused(await up(), 1, by, new RegExp(`${flag} PORT`))
      } finally {
        server.close()
      }
      const status = await mesh.weft(['status', '--name', mesh.name])
      assert.equal(status.code, 3, 'nothing may run after a refusal')
    })
  }

  test('switched-off user namespaces are told with the sysctl that switches them on', async () => {
    const inside = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    const command = ['-Ur', 'sh', '-c', inside, 'sh', weft, ...mesh.upArguments(), '--rootless']
    const ran = await mesh.run('unshare', command)
    refused(
      ran,
      4,
      /user\.max_user_namespaces is 0/,
      /sudo sysctl -w user\.max_user_namespaces=\d+/,
    )
  })

  test('a container without the needed privilege is told what to add', async () => {
    const command = ['--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin', weft]
    refused(
      await mesh.run('setpriv', [...command, ...mesh.upArguments()]),
      4,
      /namespaces can't be made here \(.*not permitted/,
      /--privileged/,
    )
  })

  test('all missing programs come in one message, each with how to get it', async () => {
    // In a mount namespace of its own, /dev/null lies over the tools: not executable.
    const hidden = ['ip', 'nft', 'iptables', 'nsenter', 'apt-get']
    const script = `for tool in ${hidden.join(' ')}; do
      for path in $(which -a $tool); do mount --bind /dev/null "$(readlink -f "$path")"; done
    done
    [ ! -d ${root}/.tools/net ] || mount -t tmpfs none ${root}/.tools/net
    exec "$@"`
    const ran = await mesh.run('unshare', [
      '-m',
      'sh',
      '-c',
      script,
      'sh',
      weft,
      ...mesh.upArguments(),
    ])
    refused(ran, 4, /"nsenter" is missing/, /"ip" is missing/, /neither "nft" nor "iptables"/)
    assert.match(ran.stderr, /iproute/)
    assert.match(ran.stderr, /nftables/)
  })

  test('a state directory of a newer version is not touched, byte for byte', async () => {
    for (const folder of ['logs', 'pki', 'pods'])
      mkdirSync(join(state(), folder), { recursive: true })
    writeFileSync(join(state(), 'format'), '2\n')
    writeFileSync(join(state(), 'registry.db'), 'from the future')
    writeFileSync(join(state(), 'pki', 'ca.key'), 'secret', { mode: 0o600 })
    const before = fingerprint(state())
    const newer = /written by a newer Weft \(format 2; this one knows 1\)/
    refused(await up(), 1, newer, /Update Weft/)
    refused(await mesh.weft(['status', '--name', mesh.name]), 1, newer)
    refused(await mesh.weft(['down', '--name', mesh.name, '--purge']), 1, newer)
    assert.equal(fingerprint(state()), before)
    rmSync(state(), { recursive: true })
  })
})

describe('a running mesh says what is wrong, and loses nothing', { skip: cannotRun() }, () => {
  let mesh: Mesh
  let mounted = false

  before(async () => {
    mesh = await Mesh.prepare({ sample: 'none' })
    // A disk of our own, to fill up.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m,mode=0700', 'weft-test', mesh.stateHome])
    mounted = true
    const up = await mesh.weft(mesh.upArguments())
    assert.equal(up.code, 0, up.stderr + mesh.logs())
  })
  after(async () => {
    await mesh?.weft(['down', '--name', mesh.name])
    if (mounted) execFileSync('umount', ['-l', mesh.stateHome])
    await mesh?.stop()
  })

  test('an unknown image is told by the events of its pod, with how to map it', async () => {
    await mesh.apply(`
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec: {containers: [{name: main, image: 'ghcr.io/me/stranger:1'}]}
`)
    await eventually(async () => {
      const text = await mesh.kubectlOk('describe', 'pod', 'stranger')
      assert.match(text, /ErrImagePull|ImagePullBackOff/)
      assert.match(
        text,
        /Failed to pull image "ghcr\.io\/me\/stranger:1": .*map it in weft\.yaml.*image: me\/stranger/,
      )
    })
    await mesh.kubectlOk('delete', 'pod', 'stranger')
  })

  test('broken YAML and wrong fields are refused by kubectl apply, and the good object stays', async () => {
    const kubectl = await kubectlPath('1.35')
    const apply = (input: string): Promise<Ran> =>
      mesh.run(kubectl, ['apply', '-f', '-'], { input })
    const policy = (action: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: kept}
spec: {action: ${action}, rules: [{}]}
`
    await mesh.apply(policy('ALLOW'))
    refused(await apply('apiVersion: v1\nkind: [ConfigMap\n'), 1, /yaml: line \d+/)
    refused(await apply(policy('MAYBE')), 1, /spec\.action.*MAYBE/s)
    refused(await apply(policy('DENY').replace('rules', 'rulez')), 1, /unknown field "spec\.rulez"/)
    const action = ['get', 'authorizationpolicy', 'kept', '-o', 'jsonpath={.spec.action}']
    assert.equal(await mesh.kubectlOk(...action), 'ALLOW')
  })

  test('another user who takes the same name is told who runs it, and both keep what they have', async () => {
    const other = await Mesh.prepare({ user: 'nobody', sample: 'none' })
    assert.equal(other.name, mesh.name)
    try {
      const holder = new RegExp(
        `"${mesh.name}" is already run by process ${mesh.brokerPid} of user root .*${mesh.stateHome}`,
      )
      refused(await other.weft(other.upArguments()), 1, holder, /--name/)
      refused(await other.weft(['down', '--name', other.name]), 1, holder)
      await mesh.kubectlOk('get', 'namespaces')
    } finally {
      rmSync(other.stateHome, { recursive: true, force: true })
    }
  })

  test('an up that joins and is interrupted does not claim that nothing runs', async () => {
    const pid = mesh.brokerPid
    const words = mesh.upArguments().filter((word) => word !== '--sample' && word !== 'none')
    const child = mesh.spawn(weft, [...words, '--sample', 'httpbin'])
    let said = ''
    child.stderr?.on('data', (chunk) => (said += String(chunk)))
    // Its sample is on the way from here on.
    await eventually(() => mesh.kubectlOk('get', 'namespace', 'httpbin'), 20_000, 20)
    child.kill('SIGINT')
    const code = await new Promise((done) => child.once('exit', done))
    assert.equal(code, 130, said)
    assert.match(said, /was running before and goes on/)
    assert.doesNotMatch(said, /nothing was left running/)
    assert.equal(mesh.brokerPid, pid)
    await mesh.kubectlOk('get', 'pods', '-A')
  })

  test('on a full disk reads go on and writes say why; with space again all is there, also after a restart', async () => {
    const put = (name: string, data: string): Promise<Ran> =>
      mesh.kubectl('create', 'configmap', name, `--from-literal=a=${data}`)
    assert.equal((await put('before', 'x')).code, 0)
    const filler = join(mesh.stateHome, 'filler')
    await mesh.run('sh', ['-c', `cat /dev/zero > ${filler} 2>/dev/null || true`])
    let stored = 0
    const full = await eventually(async () => {
      const ran = await put(`filling-${stored}`, 'y'.repeat(60_000))
      if (ran.code === 0) stored++
      assert.notEqual(ran.code, 0, 'the disk is not full yet')
      return ran
    }, 30_000)
    refused(full, 1, /disk is full|no space|storage/i)
    const reads = await mesh.kubectlOk('get', 'configmaps', '-o', 'name')
    assert.match(reads, /configmap\/before/)
    assert.equal((await mesh.weft(['status', '--name', mesh.name])).code, 0)
    rmSync(filler)
    await eventually(async () => {
      const ran = await put('after', 'z')
      assert.equal(ran.code, 0, ran.stderr)
    })
    const all = await mesh.kubectlOk('get', 'configmaps', '-A', '-o', 'name')
    assert.equal((await mesh.weft(['down', '--name', mesh.name])).code, 0)
    const up = await mesh.weft(mesh.upArguments())
    assert.equal(up.code, 0, up.stderr + mesh.logs())
    assert.equal(await mesh.kubectlOk('get', 'configmaps', '-A', '-o', 'name'), all)
  })
})

test('up on a full disk is refused, and starts once there is space', {
  skip: cannotRun(),
}, async () => {
  const mesh = await Mesh.prepare({ sample: 'none' })
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'weft-test', mesh.stateHome])
  try {
    refused(await mesh.weft(mesh.upArguments()), 1, /less than 16 MB are free/, /XDG_STATE_HOME/)
    execFileSync('mount', ['-o', 'remount,size=96m', mesh.stateHome])
    const up = await mesh.weft(mesh.upArguments())
    assert.equal(up.code, 0, up.stderr)
    await mesh.weft(['down', '--name', mesh.name])
  } finally {
    execFileSync('umount', ['-l', mesh.stateHome])
    await mesh.stop()
  }
})
