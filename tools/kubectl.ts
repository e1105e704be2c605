/** The pinned kubectl and helm for tests and benches; run as a program it fetches both versions. */
import { helmPath, kubectlPath } from '../src/cli/kubectl-tool.ts'

export { helmPath, kubectlPath }

if (import.meta.main) {
  for (const version of ['1.35', '1.32'] as const) {
    console.log(
      await kubectlPath(version, { onFetch: (what) => console.log(`fetching ${what} ...`) }),
    )
  }
}
