/** The image catalogue: from image names to programs of this machine. */
export { containerRoot, type ProgramFiles } from './builtin.ts'
export { ImageCatalogue, type ImageCatalogueOptions } from './catalogue.ts'
export { parseImageMappings, readImageFile } from './config.ts'
export { type ImageReference, parseImage } from './reference.ts'
export type { ImageMapping, ImageMount, ImageProgram, MeshPrivileges } from './types.ts'
