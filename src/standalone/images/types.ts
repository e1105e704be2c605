/** What an image name becomes: a program, the files it needs, and its defaults. */

export interface ImageMount {
  /** A file or folder of the machine. */
  readonly host: string
  /** Where the container sees it. */
  readonly path: string
  /** Default: read-only. */
  readonly writable?: boolean
}

/** What Weft's own programs may keep, and only in the mesh's own namespace. */
export interface MeshPrivileges {
  /** Capabilities without `CAP_`, upper case; all others are dropped. */
  readonly capabilities: readonly string[]
  /** Whether the container sees the mesh's run directory (pod namespaces, ZDS socket). */
  readonly runDir: boolean
}

export interface ImageProgram {
  /** Appears as the container's `imageID`. */
  readonly name: string
  /** The entry point; a container's `command` replaces it. */
  readonly command: readonly string[]
  /** Default arguments; a container's `command` or `args` replaces them. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly workingDir?: string
  readonly mounts?: readonly ImageMount[]
  /** Looked for at each start: what may have come since the mesh is up. */
  readonly findMounts?: () => readonly ImageMount[]
  /** Compiled code of the command's files; the path lacks the user id that Node adds. */
  readonly compileCache?: ImageMount
  /** No process: the runtime asks the builtin runner of this name. */
  readonly builtin?: string
  /** One of Weft's own programs. */
  readonly mesh?: MeshPrivileges
}

/** An entry of the `images` list in `weft.yaml`, checked and with absolute paths. */
export interface ImageMapping {
  /** Matches any tag unless it names one, and any registry unless it names one. */
  readonly image: string
  readonly command: readonly string[]
  readonly args?: readonly string[]
  /** Visible in the container at the same path, and its working directory. */
  readonly dir?: string
  /** Whether the container may write into `dir`. Default false. */
  readonly writable?: boolean
  readonly env?: Readonly<Record<string, string>>
  readonly mounts?: readonly ImageMount[]
}
