/**
 * For the kill test: writes as fast as it can and says on standard output what it tries (`?`) and what was
 * acknowledged (`=`): `? name put`, `= name put <revision>`. Leases are among them: what doesn't wait for the
 * disk survives the death of the process as well. It ends by being killed.
 */
import { writeSync } from 'node:fs'
import { errnoOf, silentLogger, systemClock } from '../../base/index.ts'
import { fieldsFor } from '../fields.ts'
import type { Bucket } from './bucket.ts'
import { ObjectStore } from './objects.ts'
import { SqliteStore } from './sqlite-store.ts'

const [path = ''] = process.argv.slice(2)
const store = new ObjectStore({
  store: new SqliteStore(path),
  clock: systemClock,
  logger: silentLogger,
  fieldsOf: (id) => fieldsFor(id),
})
await store.start()
const maps = store.bucket('/configmaps')
const leases = store.bucket('coordination.k8s.io/leases')
/** Synchronous, so that what is said is out before the next thing happens; a full pipe is waited for. */
function say(line: string): void {
  let rest = Buffer.from(`${line}\n`)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error
    }
  }
}
say(`= started ${store.revision}`)

async function write(bucket: Bucket, name: string): Promise<void> {
  for (let round = 1; ; round++) {
    const latest = bucket.latest('n', name)
    const remove = latest !== undefined && round % 5 === 0
    const data = { padding: 'x'.repeat((round * 997) % 9_000) }
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'n' }, data }
    const verb = remove ? 'delete' : 'put'
    say(`? ${name} ${verb}`)
    const entry = await store.write(
      bucket,
      { namespace: 'n', name },
      latest,
      remove ? undefined : object,
    )
    say(`= ${name} ${verb} ${entry.revision}`)
  }
}

await Promise.all([
  ...Array.from({ length: 6 }, (_, index) => write(maps, `map-${index}`)),
  ...Array.from({ length: 2 }, (_, index) => write(leases, `lease-${index}`)),
])
