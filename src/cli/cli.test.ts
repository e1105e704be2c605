/** Commands without a mesh: parsing, help, exit codes, completion. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FakeClock } from '../base/index.ts'
import { completionScript } from './commands/completion.ts'
import type { CommandContext } from './context.ts'
import { createProgram, main } from './index.ts'

interface Called {
  readonly code: number
  readonly out: string
  readonly err: string
}

function contextFor(stateHome: string, platform: NodeJS.Platform = 'linux') {
  const seen = { code: 0, out: '', err: '' }
  const context: CommandContext = {
    terminal: {
      out: (text) => (seen.out += String(text)),
      err: (text) => (seen.err += String(text)),
      interactive: false,
      monotonic: () => 0,
    },
    environment: { XDG_STATE_HOME: stateHome, HOME: stateHome, PATH: process.env.PATH },
    clock: new FakeClock(),
    platform,
    root: process.cwd(),
    version: '9.8.7',
    setExitCode: (code) => (seen.code = code),
  }
  return { context, seen }
}

function freshHome(t: TestContext): string {
  const home = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  t.after(() => rmSync(home, { recursive: true }))
  return home
}

async function call(home: string, args: string[], platform?: NodeJS.Platform): Promise<Called> {
  const { context, seen } = contextFor(home, platform)
  await main(args, context)
  return { ...seen }
}

test('a wrong command line is a usage error, with the nearest command named', async (t) => {
  const home = freshHome(t)
  const cases: [string[], RegExp][] = [
    [['statsu'], /Did you mean status\?/],
    [['up', '--sampel', 'x'], /Did you mean --sample\?/],
    [['up', '--registry-port', '0'], /a port is 1 to 65535/],
    [['up', '--registry-port', '7000', '--ingress-port', '7000'], /are both 7000/],
    [['up', '--root', '--rootless'], /exclude each other/],
    [['status', '--name', 'Not A Name'], /can't be the name of a mesh/],
    [['status', '-o', 'xml'], /Allowed choices are json, yaml/],
    [['logs', '--tail', 'all', 'broker'], /a whole number/],
    [['run'], /missing required argument 'command'/],
    [['run', '--rm', '--keep', '--', 'true'], /cannot be used with/],
    [['registry', 'bakup', 'x'], /Did you mean backup\?/],
    [['registry', 'backup'], /missing required argument 'file'/],
    [['registry', 'restore', '--name', 'Not A Name', 'x'], /can't be the name of a mesh/],
    [['completion', 'tcsh'], /Allowed choices are bash, zsh, fish/],
  ]
  for (const [args, text] of cases) {
    const { code, err } = await call(home, args)
    assert.match(err, text)
    assert.equal(code, 2, `${args.join(' ')}: ${err}`)
  }
})

test('without a mesh each command says so with the way to start it, and names those that exist', async (t) => {
  const home = freshHome(t)
  const codes = { status: 3, kubeconfig: 1, logs: 1, run: 1, kubectl: 1 }
  for (const [command, code] of Object.entries(codes)) {
    const called = await call(home, [
      command,
      ...(command === 'status' || command === 'kubeconfig' ? [] : ['get']),
    ])
    assert.equal(called.code, code, command)
    assert.match(called.err, /there is no mesh "default" here\nStart it with: weft up\n/)
  }
  mkdirSync(join(home, 'weft', 'two'), { recursive: true })
  writeFileSync(join(home, 'weft', 'two', 'format'), '1\n')
  assert.match((await call(home, ['status'])).err, /There is: two \(--name\)/)
  const stopped = await call(home, ['status', '--name', 'two'])
  assert.equal(stopped.code, 3)
  assert.match(stopped.out, /^mesh: +two \(stopped\)$/m)
  assert.match(
    (await call(home, ['run', '--name', 'two', 'true'])).err,
    /does not run\nStart it with: weft up --name two/,
  )
})

test('version and help go to standard output and are no failures', async (t) => {
  const home = freshHome(t)
  assert.deepEqual(await call(home, ['--version']), { code: 0, out: '9.8.7\n', err: '' })
  assert.match(
    (await call(home, ['version', '-o', 'yaml'])).out,
    /^clientVersion:\n {2}version: 9\.8\.7\n/,
  )
  const help = await call(home, ['help'])
  assert.equal(help.code, 0)
  assert.match(help.out, /First steps:/)
  for (const command of [
    'up',
    'logs',
    'run',
    'down',
    'kubeconfig',
    'kubectl',
    'completion',
    'registry',
  ]) {
    assert.match((await call(home, ['help', command])).out, /Examples?:/, command)
  }
})

test('on other systems up says what it needs, and the rest works', async (t) => {
  const home = freshHome(t)
  const up = await call(home, ['up'], 'darwin')
  assert.equal(up.code, 1)
  assert.match(up.err, /needs Linux, and this is darwin/)
  assert.equal((await call(home, ['version'], 'darwin')).code, 0)
})

test('down of a mesh that is not there is no failure and claims nothing', async (t) => {
  const { code, out } = await call(freshHome(t), ['down', '--name', 'nothing'])
  assert.equal(code, 0)
  assert.match(out, /^There is nothing in .*\/weft\/nothing\.\n$/)
})

test('bash completes commands, flags, their values and the names of meshes', (t) => {
  const home = freshHome(t)
  mkdirSync(join(home, 'weft', 'my-mesh'), { recursive: true })
  const script = completionScript(createProgram(contextFor(home).context), 'bash')
  const complete = (...words: string[]): string[] => {
    const line = `${script}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['--norc', '-c', line, 'bash', ...words], {
      env: { XDG_STATE_HOME: home, PATH: process.env.PATH ?? '' },
    })
      .toString()
      .split('\n')
      .filter((word) => word !== '')
  }
  assert.deepEqual(complete('weft', 'st'), ['status'])
  assert.deepEqual(complete('weft', 'up', '--ing'), ['--ingress-port'])
  assert.deepEqual(complete('weft', 'up', '--sample', 'book'), ['bookinfo'])
  assert.deepEqual(complete('weft', 'status', '--name', 'x', '-o', ''), ['json', 'yaml'])
  assert.deepEqual(complete('weft', 'status', '--name', ''), ['my-mesh'])
  assert.deepEqual(complete('weft', 'logs', '-f', 'z'), ['ztunnel'])
  assert.deepEqual(complete('weft', 'completion', 'f'), ['fish'])
  assert.deepEqual(complete('weft', 'registry', 'b'), ['backup'])
  assert.deepEqual(complete('weft', 'registry', 'restore', '--na'), ['--name'])
  assert.ok(complete('weft', '').includes('up'))
})

test('zsh and fish get every command and flag', () => {
  const program = createProgram(contextFor('/nowhere').context)
  const fish = completionScript(program, 'fish')
  const zsh = completionScript(program, 'zsh')
  assert.match(zsh, /^autoload -U \+X bashcompinit/)
  for (const command of program.commands) {
    assert.match(fish, new RegExp(`-a ${command.name()} `))
    for (const { long } of command.options) {
      if (long === null || long === undefined) continue
      assert.ok(zsh.includes(long), long)
      assert.ok(fish.includes(`-l ${long.slice(2)}`), long)
    }
  }
})
