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
  /** The path of `setsid` when the command gets a terminal. */
  readonly terminalWith: string | undefined
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

/** The command line that makes the terminal on its standard input the controlling one. */
function onTerminal(setsid: string, words: readonly string[]): string[] {
  return [setsid, '--ctty', ...words]
}

/**
 * The terminal is made by the runtime, in the devpts that the launch script has mounted: it is asked for
 * here, and its number comes on the standard input, which carries nothing else then.
 */
const takeTerminal = [
  'echo tty >&3; read -r terminal || exit 1',
  'exec 0<>"/dev/pts/$terminal" 1>&0 2>&0',
  'unset terminal',
]

export function initScript(plan: InitPlan): string {
  const { terminalWith: setsid } = plan
  const words = setsid === undefined ? plan.command : onTerminal(setsid, plan.command)
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
    ...(setsid === undefined ? [] : takeTerminal),
    'exec 4<&0 </dev/null',
    'weft_env "$@" <&4 4<&- 3>&- &',
    'child=$!',
    'exec 4<&-',
    'for name in TERM INT HUP QUIT USR1 USR2; do trap "kill -$name $child 2>/dev/null" "$name"; done',
    // The shell would report in the container's log which signal has ended the command.
    'echo ready >&3; exec 2>/dev/null 3>&-',
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

export interface ExecPlan {
  readonly command: readonly string[]
  readonly workingDir: string
  readonly terminalWith: string | undefined
  /** Rootless mode: files can belong to one user only. */
  readonly singleUser: boolean
}

/** What `exec` runs inside a container, as arguments of `sh`. */
export function execArguments(plan: ExecPlan): string[] {
  const { command, workingDir, terminalWith: setsid, singleUser } = plan
  const script = [
    '. /.weft/env.sh',
    `cd ${quote(cdTarget(workingDir))} 2>/dev/null`,
    'unset OLDPWD',
    // The one user there is looks like root to tar, which then insists on the owners that `kubectl cp` sends.
    ...(singleUser ? ['export TAR_OPTIONS="${TAR_OPTIONS---no-same-owner}"'] : []),
    ...(setsid === undefined ? [] : ['export TERM="${TERM:-xterm}"']),
    'weft_env "$@"',
  ]
  const words = setsid === undefined ? command : onTerminal(setsid, command)
  return ['-c', script.join('; '), 'exec', ...words]
}
