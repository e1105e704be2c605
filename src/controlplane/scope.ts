/** Which namespaces are the mesh's, as long as MeshConfig says what it says now. */
import { isDeepStrictEqual } from 'node:util'
import type { NamespaceScope } from '../ca/index.ts'
import { selectsNamespace } from '../model/index.ts'
import type { MeshSource } from './source.ts'

/** The discovery selectors, followed. */
export function discoveryScope(
  source: Pick<MeshSource, 'snapshot' | 'onMeshChange'>,
): NamespaceScope {
  return {
    includes({ metadata }) {
      const { discoverySelectors } = source.snapshot.mesh
      return (
        discoverySelectors.length === 0 ||
        selectsNamespace(discoverySelectors, metadata.labels ?? {})
      )
    },
    onChange(listener) {
      let before = source.snapshot.mesh.discoverySelectors
      return source.onMeshChange(({ snapshot }) => {
        const now = snapshot.mesh.discoverySelectors
        if (isDeepStrictEqual(before, now)) return
        before = now
        listener()
      })
    },
  }
}
