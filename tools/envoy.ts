/** For tests: the pinned stock Envoy, downloaded on the first use with a word on the terminal. */
import * as tool from '../src/cli/envoy-tool.ts'

/** The path of the pinned Envoy. */
export function envoyPath(): Promise<string> {
  return tool.envoyPath({
    onFetch: (what) => void process.stderr.write(`fetching ${what} ...\n`),
  })
}
