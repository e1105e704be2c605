/** `weft completion SHELL`: completion of commands, flags and their values, made from the commands themselves. */
import { Argument, type Command, type Option } from 'commander'
import { sampleNames } from '../../standalone/index.ts'
import type { CommandContext } from '../context.ts'

/** What may follow; `shell` is a shell expression, for what only the moment of completion knows. */
interface Values {
  readonly words: readonly string[]
  readonly shell?: string
}

interface Entry {
  readonly command: string
  readonly description: string
  readonly flags: readonly Flag[]
  readonly values: readonly string[]
}

interface Flag {
  readonly names: readonly string[]
  readonly description: string
  /** Undefined: it takes none. */
  readonly values: Values | undefined
}

const meshNames = 'ls "${XDG_STATE_HOME:-$HOME/.local/state}/weft" 2>/dev/null'
const meshParts = ['istiod', 'ztunnel', 'istio-cni', 'broker', 'init']

export function addCompletion(program: Command, context: CommandContext): void {
  program
    .command('completion')
    .description('print a completion script for your shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
Examples:
  source <(weft completion bash)                                    now; or in ~/.bashrc
  source <(weft completion zsh)                                     or in ~/.zshrc
  weft completion fish > ~/.config/fish/completions/weft.fish`,
    )
    .action((shell: string) => context.terminal.out(completionScript(program, shell)))
}

/** The script of one shell: `bash`, `zsh` or `fish`. */
export function completionScript(program: Command, shell: string): string {
  const entries = program.commands.map(entryOf)
  if (shell === 'fish') return fishScript(entries)
  const script = bashScript(entries)
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script
}

function entryOf(command: Command): Entry {
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? [])
  const help: Flag = { names: ['--help', '-h'], description: 'help', values: undefined }
  // `weft registry`: its own commands are offered as its first word, and their flags together.
  const nested = command.commands.map((each) => each.name())
  const options = [command, ...command.commands].flatMap((each) => each.options)
  const once = [...new Map(options.map((option) => [option.flags, option])).values()]
  return {
    command: command.name(),
    description: command.description(),
    flags: [...once.map(flagOf), help],
    values: command.name() === 'logs' ? meshParts : [...choices, ...nested],
  }
}

function flagOf(option: Option): Flag {
  const takesValue = option.required || option.optional
  return {
    names: [option.long, option.short].filter((name) => name !== undefined),
    description: option.description,
    values: takesValue ? valuesOf(option) : undefined,
  }
}

function valuesOf(option: Option): Values {
  if (option.long === '--name') return { words: [], shell: meshNames }
  if (option.long === '--sample') return { words: [...sampleNames(), 'none'] }
  return { words: option.argChoices ?? [] }
}

function bashScript(entries: readonly Entry[]): string {
  const values = entries.flatMap(({ command, flags }) =>
    flags.flatMap(({ names, values: known }) => {
      if (known === undefined) return []
      const patterns = names.map((name) => `'${command} ${name}'`).join(' | ')
      const shell = known.shell === undefined ? '' : `$(${known.shell})`
      return [`    ${patterns}) words="${known.words.join(' ')}${shell}" ;;`]
    }),
  )
  const commands = entries.map(({ command, flags, values: own }) => {
    const words = [...own, ...flags.flatMap(({ names }) => names)]
    return `    '${command} '*) words='${words.join(' ')}' ;;`
  })
  const top = [...entries.map(({ command }) => command), 'help', '--help', '--version']
  // Words of `run` and `kubectl` after the first are somebody else's: files are offered for them.
  return `_weft() {
  local current previous word command='' words=''
  current="\${COMP_WORDS[COMP_CWORD]}"
  previous="\${COMP_WORDS[COMP_CWORD-1]}"
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) command="$word"; break ;; esac
  done
  case "$command $previous" in
${[...values, ...commands].join('\n')}
    *) if [ -z "$command" ]; then words='${top.join(' ')}'; fi ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _weft weft
`
}

function fishScript(entries: readonly Entry[]): string {
  const quoted = (text: string): string =>
    `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  const lines = entries.flatMap(({ command, description, flags, values }) => {
    const inside = `-n '__fish_seen_subcommand_from ${command}'`
    return [
      `complete -c weft -f -n __fish_use_subcommand -a ${command} -d ${quoted(description)}`,
      ...values.map((word) => `complete -c weft -f ${inside} -a ${word}`),
      ...flags.map(({ names, description: text, values: known }) => {
        const words = names.map((name) =>
          name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
        )
        const shell =
          known?.shell === undefined
            ? ''
            : '(ls ~/.local/state/weft $XDG_STATE_HOME/weft 2>/dev/null)'
        const offered = known === undefined ? '' : `${known.words.join(' ')}${shell}`
        const value =
          known === undefined ? '' : offered === '' ? ' -r' : ` -x -a ${quoted(offered)}`
        return `complete -c weft ${inside} ${words.join(' ')} -d ${quoted(text)}${value}`
      }),
    ]
  })
  return lines.map((line) => `${line}\n`).join('')
}
