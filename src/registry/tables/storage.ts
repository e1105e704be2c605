/** Rows of volumes, claims and storage classes. */
import type { KubeObject } from '../../kube/index.ts'
import { mapOf, stringsOf, textOf, valueAt } from '../values.ts'
import { age, type Cells, unset } from './cells.ts'

const shortModes: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
}

const modes = (path: string) => (object: KubeObject) =>
  stringsOf(valueAt(object, path))
    .map((mode) => shortModes[mode] ?? mode)
    .join(',')

const text = (path: string) => (object: KubeObject) => textOf(valueAt(object, path))

const mode = (object: KubeObject): string => textOf(valueAt(object, 'spec.volumeMode')) || unset

const attributesClass = (object: KubeObject): string =>
  textOf(valueAt(object, 'spec.volumeAttributesClassName')) || unset

function phase(object: KubeObject): string {
  const word = textOf(valueAt(object, 'status.phase'))
  return object.metadata.deletionTimestamp === undefined ? word : 'Terminating'
}

/** What a bound claim has, which may differ from what it asked for. */
function bound(read: (claim: KubeObject) => string): (claim: KubeObject) => string {
  return (claim) => (textOf(valueAt(claim, 'spec.volumeName')) === '' ? '' : read(claim))
}

function claimOf(volume: KubeObject): string {
  const { namespace, name } = mapOf(valueAt(volume, 'spec.claimRef'))
  return name === undefined ? '' : `${textOf(namespace)}/${textOf(name)}`
}

const defaultClass = 'storageclass.kubernetes.io/is-default-class'

function className(object: KubeObject): string {
  const isDefault = object.metadata.annotations?.[defaultClass] === 'true'
  return isDefault ? `${object.metadata.name} (default)` : object.metadata.name
}

export const storagePrinters: Readonly<Record<string, Cells>> = {
  '/persistentvolumeclaims': {
    Status: phase,
    Volume: text('spec.volumeName'),
    Capacity: bound(text('status.capacity.storage')),
    'Access Modes': bound(modes('status.accessModes')),
    StorageClass: text('spec.storageClassName'),
    VolumeAttributesClass: attributesClass,
    Age: age,
    'VolumeMode*': mode,
  },
  '/persistentvolumes': {
    Capacity: text('spec.capacity.storage'),
    'Access Modes': modes('spec.accessModes'),
    'Reclaim Policy': text('spec.persistentVolumeReclaimPolicy'),
    Status: phase,
    Claim: claimOf,
    StorageClass: text('spec.storageClassName'),
    VolumeAttributesClass: attributesClass,
    Reason: text('status.reason'),
    Age: age,
    'VolumeMode*': mode,
  },
  'storage.k8s.io/storageclasses': {
    // Instead of the plain name.
    Name: className,
    Provisioner: text('provisioner'),
    ReclaimPolicy: (object) => textOf(valueAt(object, 'reclaimPolicy')) || 'Delete',
    VolumeBindingMode: (object) => textOf(valueAt(object, 'volumeBindingMode')) || 'Immediate',
    AllowVolumeExpansion: (object) => String(valueAt(object, 'allowVolumeExpansion') === true),
    Age: age,
  },
}
