/** Where a mesh keeps its files. One directory per mesh, so that backing up and purging are one step. */
import { isAbsolute, join } from 'node:path'
import { MeshError } from '../../base/index.ts'

export interface MeshPaths {
  readonly root: string
  readonly format: string
  readonly brokerRecord: string
  readonly controlSocket: string
  readonly kubeconfig: string
  readonly pki: string
  readonly registryDatabase: string
  readonly logs: string
  readonly brokerLog: string
  readonly initLog: string
  readonly pods: string
  readonly network: string
  /** The images of `weft run`. */
  readonly images: string
}

/** The folder of all meshes: `$XDG_STATE_HOME/weft`, by default below the home directory. */
export function stateHome(environment: Readonly<Record<string, string | undefined>>): string {
  const xdg = environment.XDG_STATE_HOME
  // The specification says that relative values are to be ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'weft')
  const home = environment.HOME
  if (home === undefined || !isAbsolute(home)) {
    throw new MeshError('STATE_HOME', 'neither XDG_STATE_HOME nor HOME names a directory', {
      hint: 'Set XDG_STATE_HOME to a directory that you own, like /var/tmp/me.',
    })
  }
  return join(home, '.local', 'state', 'weft')
}

/** @param name of the mesh; a lower-case DNS label of at most 40 characters */
export function meshPaths(home: string, name: string): MeshPaths {
  if (!/^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/.test(name)) {
    throw new MeshError('STATE_NAME', `"${name}" can't be the name of a mesh`, {
      hint: 'Use lower-case letters, digits and dashes, at most 40, like --name dev-1.',
    })
  }
  const root = join(home, name)
  return {
    root,
    format: join(root, 'format'),
    brokerRecord: join(root, 'broker.json'),
    controlSocket: join(root, 'control.sock'),
    kubeconfig: join(root, 'kubeconfig'),
    pki: join(root, 'pki'),
    registryDatabase: join(root, 'registry.db'),
    logs: join(root, 'logs'),
    brokerLog: join(root, 'logs', 'broker.log'),
    initLog: join(root, 'logs', 'init.log'),
    pods: join(root, 'pods'),
    network: join(root, 'network.json'),
    images: join(root, 'images.json'),
  }
}
