/**
 * PID 1 of a container: a few lines of `sh`, already without privileges. It starts the command,
 * passes signals on (PID 1 itself would ignore them), reaps orphans, and ends with the command's code.
 */
import { posix } from 'node:path'
import { quote } from './launch-script.ts'

export interface InitPlan {
  readonly command: readonly string[]
  readonly env: ReadonlyMap<string, string>
  readonly workingDir: string
  readonly tty: boolean
}

const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Sets exactly the container's environment; also read by `exec`.
 * @param resetSignals whether this machine's `env` can undo that `sh` ignores INT and QUIT for its children
 */
export function envScript(env: ReadonlyMap<string, string>, resetSignals: boolean): string {
  const lines = ['unset LC_ALL PWD OLDPWD 2>/dev/null || :']
  for (const [name, value] of env) {
    if (shellName.test(name)) lines.push(`export ${name}=${quote(value)}`)
  }
  // `sh` has no such variables; `env` sets them at the last moment.
  const odd = [...env].filter(([name]) => !shellName.test(name) && !name.includes('='))
  const words = odd.map(([name, value]) => quote(`${name}=${value}`)).join(' ')
  const signals = resetSignals ? '--default-signal=INT,QUIT ' : ''
  lines.push(`weft_env() { exec /usr/bin/env ${signals}${words} "$@"; }`, '')
  return lines.join('\n')
}

/** The command line that gives `words` a terminal: `script` comes with every util-linux. */
export function onTerminal(words: readonly string[]): string[] {
  return ['script', '-qefc', `exec ${words.map(quote).join(' ')}`, '/dev/null']
}

export function initScript(plan: InitPlan): string {
  const words = plan.tty ? onTerminal(plan.command) : plan.command
  const program = plan.command[0] ?? ''
  const missing = program.includes('/')
    ? `exec: "${program}": no such file or not executable`
    : `exec: "${program}": executable file not found in $PATH`
  const noFolder = `workingDir "${plan.workingDir}" can't be entered`
  return [
    '. /.weft/env.sh',
    'fail() { echo "$1" >&3; exit 128; }',
    `cd ${quote(cdTarget(plan.workingDir))} 2>/dev/null || fail ${quote(noFolder)}`,
    'unset OLDPWD',
    `set -- ${words.map(quote).join(' ')}`,
    `command -v ${quote(program)} >/dev/null 2>&1 || fail ${quote(missing)}`,
    'exec 4<&0 </dev/null',
    'weft_env "$@" <&4 4<&- 3>&- &',
    'child=$!',
    'exec 4<&-',
    'for name in TERM INT HUP QUIT USR1 USR2; do trap "kill -$name $child 2>/dev/null" "$name"; done',
    'echo ready >&3; exec 3>&-',
    'while :; do',
    '  wait "$child"; code=$?',
    '  kill -0 "$child" 2>/dev/null || break',
    'done',
    'exit "$code"',
    '',
  ].join('\n')
}

/** `cd -x` would be an option. */
function cdTarget(path: string): string {
  return posix.isAbsolute(path) ? path : `./${path}`
}

/** What `exec` runs inside a container, as arguments of `sh`. */
export function execArguments(
  command: readonly string[],
  workingDir: string,
  tty: boolean,
): string[] {
  const words = tty ? onTerminal(command) : command
  const script = `. /.weft/env.sh; cd ${quote(cdTarget(workingDir))} 2>/dev/null; unset OLDPWD; weft_env "$@"`
  return ['-c', script, 'exec', ...words]
}
