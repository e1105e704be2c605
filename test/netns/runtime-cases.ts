/** Entry point inside the namespace tree that `runtime.test.ts` makes: one node, all cases. */
import { after, before } from 'node:test'
import { isolationCases } from './runtime-isolation.ts'
import { PodBench } from './runtime-kit.ts'
import { lifecycleCases } from './runtime-lifecycle.ts'
import { streamCases } from './runtime-streams.ts'

const bench = new PodBench()
before(() => bench.start())
after(() => bench.stop())
lifecycleCases(bench)
isolationCases(bench)
streamCases(bench)
