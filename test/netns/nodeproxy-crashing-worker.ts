/** A worker of the node proxy that runs out of memory when a file tells it to. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { workerData } from 'node:worker_threads'
import '../../src/nodeproxy/workers/worker.ts'

const { index } = workerData as { index: number }
const order = join(process.env['WEFT_TEST_CRASH'] ?? '', `crash-${index}`)
setInterval(() => {
  try {
    rmSync(order)
  } catch {
    return
  }
  const heap: number[][] = []
  for (;;) heap.push(Array.from({ length: 10_000 }, Math.random))
}, 20)
