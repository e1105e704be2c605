/** `weft completion SHELL`: completion of commands and flags, made from the commands themselves. */
import { Argument, type Command } from 'commander'
import type { CommandContext } from '../context.ts'

interface Entry {
  readonly words: string
  readonly completions: readonly string[]
}

export function addCompletion(program: Command, context: CommandContext): void {
  program
    .command('completion')
    .description('print a completion script for your shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', '\nExample:\n  source <(weft completion bash)')
    .action((shell: string) => context.terminal.out(completionScript(program, shell)))
}

function entries(program: Command): Entry[] {
  const flags = (command: Command): string[] =>
    command.options
      .flatMap((option) => [option.long ?? '', option.short ?? ''])
      .filter((flag) => flag !== '')
  const visit = (command: Command, words: string): Entry[] => {
    const own = [...command.commands.map((child) => child.name()), ...flags(command)]
    return [
      { words, completions: own },
      ...command.commands.flatMap((child) => visit(child, `${words} ${child.name()}`)),
    ]
  }
  return visit(program, 'weft')
}

export function completionScript(program: Command, shell: string): string {
  const list = entries(program)
  if (shell === 'fish') {
    return list
      .flatMap(({ words, completions }) => {
        const path = words.split(' ').slice(1)
        const condition =
          path.length === 0
            ? '__fish_use_subcommand'
            : `__fish_seen_subcommand_from ${path.join(' ')}`
        return completions.map((word) =>
          word.startsWith('--')
            ? `complete -c weft -n '${condition}' -l ${word.slice(2)}`
            : word.startsWith('-')
              ? `complete -c weft -n '${condition}' -s ${word.slice(1)}`
              : `complete -c weft -f -n '${condition}' -a ${word}`,
        )
      })
      .map((line) => `${line}\n`)
      .join('')
  }
  const cases = list
    .map(({ words, completions }) => `    '${words}') words='${completions.join(' ')}' ;;`)
    .join('\n')
  const body = `_weft() {
  local current path word words=''
  current="\${COMP_WORDS[COMP_CWORD]}"
  path='weft'
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="$path $word" ;; esac
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _weft weft
`
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${body}` : body
}
