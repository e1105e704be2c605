/** For tests: the pinned kubectl and helm, downloaded on the first use with a word on the terminal. */
import * as tool from '../src/cli/kubectl-tool.ts'

const options = {
  onFetch: (what: string): void => void process.stderr.write(`fetching ${what} ...\n`),
}

/** The path of the pinned kubectl. */
export function kubectlPath(version: tool.KubectlVersion): Promise<string> {
  return tool.kubectlPath(version, options)
}

/** The path of the helm that comes with it. */
export function helmPath(version: tool.KubectlVersion): Promise<string> {
  return tool.helmPath(version, options)
}
