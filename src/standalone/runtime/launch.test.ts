import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import test from 'node:test'
import fc from 'fast-check'
import { commandOf } from './builder.ts'
import { lockedFlags } from './host-root.ts'
import { envScript } from './init-script.ts'
import { quote, refusedMountPath } from './launch-script.ts'
import { dropPrivileges } from './process-launcher.ts'
import { hostsFile, resolvConf } from './resolv.ts'
import { identityOf, notEnforced, seesRunDir } from './security.ts'
import type { Container, Pod, PodSpec } from './types.ts'

function podOf(spec: Partial<PodSpec> = {}, namespace = 'ns'): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-1', namespace, uid: 'u' },
    spec: { containers: [], ...spec },
  }
}

test('every text is one word of the shell', () => {
  const words = fc.array(
    fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
    {
      minLength: 1,
      maxLength: 20,
    },
  )
  fc.assert(
    fc.property(words, (texts) => {
      const script = `printf '%s\\0' ${texts.map(quote).join(' ')}`
      const out = execFileSync('/bin/sh', ['-c', script]).toString()
      assert.deepEqual(
        out.split('\0').slice(0, -1),
        texts.map((text) => Buffer.from(text).toString()),
      )
    }),
    { numRuns: 20 },
  )
})

test('the environment is exactly the given one, whatever is in the values', () => {
  const env = new Map([
    ['PATH', '/usr/bin:/bin'],
    ['A', `'"$(id)\n\\`],
    ['odd.name', 'x y'],
  ])
  const script = `${envScript(env, true)}\nweft_env /usr/bin/env -0`
  const out = execFileSync('/bin/sh', ['-c', script], { env: { LC_ALL: 'C' } }).toString()
  const seen = new Map(
    out
      .split('\0')
      .filter((line) => line !== '')
      .map((line) => {
        const at = line.indexOf('=')
        return [line.slice(0, at), line.slice(at + 1)] as const
      }),
  )
  for (const own of ['PWD', '_', 'SHLVL']) seen.delete(own)
  assert.deepEqual(Object.fromEntries(seen), Object.fromEntries(env))
})

test('the system’s own paths can not be mounted over, in any spelling', () => {
  for (const path of [
    '/',
    '/usr',
    '/usr/',
    '/usr//bin',
    '/usr/share/../bin',
    '/usr/lib/x86_64-linux-gnu',
    '/usr/local/lib',
    '/lib64',
    '/lib/x/y',
    '/etc',
    '/etc/ld.so.preload',
    '/proc/self',
    '/dev',
    '/.weft/init.sh',
    'relative',
  ]) {
    assert.notEqual(refusedMountPath(path), undefined, path)
  }
  for (const path of [
    '/data',
    '/usr/share/nginx/html',
    '/usr/src/app',
    '/etc/config',
    '/etc/ssl/certs',
    '/dev/shm',
    '/var/run/secrets/x',
    '/library',
  ]) {
    assert.equal(refusedMountPath(path), undefined, path)
  }
})

test('locked mount flags come from the mount that holds the path', () => {
  const info = [
    '20 1 0:1 / / rw,relatime - ext4 /dev/a rw',
    '21 20 0:2 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw',
    '22 21 0:3 / /tmp/a\\040b rw,noexec - tmpfs tmpfs rw',
  ].join('\n')
  assert.deepEqual(lockedFlags('/tmp/x', info), ['nosuid', 'nodev'])
  assert.deepEqual(lockedFlags('/tmp/a b/c', info), ['noexec'])
  assert.deepEqual(lockedFlags('/tmpfile', info), [])
})

const rules = { root: true, meshNamespace: 'istio-system' }
const plain = { name: 'x', command: [] }
const ztunnel = { ...plain, mesh: { capabilities: ['NET_ADMIN', 'SYS_ADMIN'], runDir: true } }
const greedy: Container = {
  name: 'c',
  securityContext: { runAsUser: 0, capabilities: { add: ['CAP_NET_ADMIN', 'sys_ptrace'] } },
}

test('capabilities: none for workloads, two for init containers, the catalogue’s for the mesh', () => {
  const of = (pod: Pod, role: 'init' | 'main', program = plain as typeof ztunnel) =>
    identityOf(pod, greedy, role, program, rules)
  assert.deepEqual(of(podOf(), 'main'), { user: { uid: 65534, gid: 65534 }, capabilities: [] })
  assert.deepEqual(of(podOf(), 'init'), {
    // The pod's group lets it read the volumes.
    user: { uid: 0, gid: 65534 },
    capabilities: ['NET_ADMIN'],
  })
  assert.deepEqual(of(podOf({ hostNetwork: true }), 'init').capabilities, [])
  assert.deepEqual(of(podOf(), 'main', ztunnel).capabilities, [])
  assert.deepEqual(of(podOf({}, 'istio-system'), 'main', ztunnel).capabilities, [
    'NET_ADMIN',
    'SYS_ADMIN',
  ])
  assert.equal(seesRunDir(podOf(), ztunnel, rules), false)
  const words = dropPrivileges('setpriv', of(podOf(), 'init'))
  assert.ok(words.includes('--bounding-set=-all,+net_admin') && words.includes('--no-new-privs'))
})

test('what is not honoured is said with its field', () => {
  const pod = podOf({
    hostPID: true,
    containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }],
  })
  const limited = { ...greedy, resources: { limits: { cpu: 1 } } }
  const identity = identityOf(pod, limited, 'main', plain, rules)
  const said = notEnforced(pod, limited, identity, plain, rules).join('\n')
  for (const part of [
    'spec.hostPID',
    'hostPort (80)',
    'NET_ADMIN, SYS_PTRACE refused',
    'runAsUser 0',
    'limits (cpu)',
  ]) {
    assert.ok(said.includes(part), part)
  }
  const quiet = { name: 'c', securityContext: { runAsUser: 1000, capabilities: { drop: ['ALL'] } } }
  assert.deepEqual(
    notEnforced(podOf(), quiet, identityOf(podOf(), quiet, 'main', plain, rules), plain, rules),
    [],
  )
})

const dns = {
  server: '10.96.0.10',
  domain: 'cluster.local',
  nodeResolvConf: 'nameserver 9.9.9.9\nsearch lan\n',
}

test('resolv.conf follows dnsPolicy and dnsConfig', () => {
  assert.match(
    resolvConf(podOf(), dns),
    /^search ns\.svc\.cluster\.local svc\.cluster\.local cluster\.local\nnameserver 10\.96\.0\.10\noptions ndots:5\n$/,
  )
  assert.equal(resolvConf(podOf({ hostNetwork: true }), dns), 'search lan\nnameserver 9.9.9.9\n')
  assert.match(
    resolvConf(podOf({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }), dns),
    /10\.96\.0\.10/,
  )
  const dnsConfig = {
    nameservers: ['1.1.1.1'],
    searches: ['corp'],
    options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
  }
  assert.equal(
    resolvConf(podOf({ dnsPolicy: 'None', dnsConfig }), dns),
    'search corp\nnameserver 1.1.1.1\noptions ndots:2 edns0\n',
  )
  assert.match(resolvConf(podOf({ dnsConfig }), dns), /options ndots:2 edns0/)
})

test('the hosts file has the pod, its subdomain name and aliases', () => {
  const pod = podOf({
    hostname: 'db-0',
    subdomain: 'db',
    hostAliases: [{ ip: '1.2.3.4', hostnames: ['a', 'b'] }],
  })
  const text = hostsFile(pod, '10.0.0.9', 'cluster.local')
  assert.match(text, /^10\.0\.0\.9\tdb-0\.db\.ns\.svc\.cluster\.local\tdb-0$/m)
  assert.match(text, /^1\.2\.3\.4\ta\tb$/m)
})

test('command replaces the whole entry point, args only the default arguments', () => {
  const program = { name: 'x', command: ['entry'], args: ['default'] }
  const of = (container: Partial<Container>) =>
    commandOf({ name: 'c', ...container }, program, new Map([['A', '1']]))
  assert.deepEqual(of({}), ['entry', 'default'])
  assert.deepEqual(of({ args: ['$(A)', '$$(A)'] }), ['entry', '1', '$(A)'])
  assert.deepEqual(of({ command: ['own'] }), ['own'])
  assert.deepEqual(of({ command: ['own'], args: ['x'] }), ['own', 'x'])
  assert.throws(() => commandOf({ name: 'c' }, { name: 'x', command: [] }, new Map()), /no command/)
})
