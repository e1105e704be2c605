/**
 * The unmodified helm 3 and helm 4 through the life of a release: install, drift, upgrade, a failed upgrade,
 * rollback, tests and uninstall, each with `--wait`, so that statuses and conditions must be right.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { helmPath } from '../../tools/kubectl.ts'
import { ControllersKit } from './controllers-kit.ts'
import type { Outcome } from './harness.ts'

const chart = join(import.meta.dirname, 'testdata', 'shop-chart')
/** How often the controllers' clock is moved on. */
const tickMs = 50

const versions = { '3': '1.32', '4': '1.35' } satisfies Record<string, KubectlVersion>

// Most of the time both wait.
describe('releases', { concurrency: 2 }, () => {
  for (const [major, version] of Object.entries(versions)) {
    describe(`helm ${major}`, { concurrency: 1 }, () => {
      let kit: ControllersKit
      let helmProgram: string
      let ticks: NodeJS.Timeout
      before(async () => {
        helmProgram = await helmPath(version)
        kit = await ControllersKit.start(version)
        ticks = setInterval(() => kit.clock.advance(tickMs), tickMs)
      })
      after(async () => {
        clearInterval(ticks)
        await kit?.stop()
      })

      const run = (line: string): Promise<Outcome> =>
        kit.harness.runProgram(helmProgram, [...line.split(' '), '--namespace', 'shop'])
      const helm = async (line: string): Promise<string> => {
        const { code, stdout, stderr } = await run(line)
        assert.equal(code, 0, `helm ${line}\n${stderr}${stdout}`)
        return stdout
      }
      const field = (resource: string, path: string): Promise<string> =>
        kit.kubectl(`get ${resource} -n shop -o jsonpath={${path}}`)

      test('install makes the CRD, then the objects, waits for them, and runs the hook', async () => {
        const said = await helm(`install web ${chart} --create-namespace --wait --timeout 30s`)
        assert.match(said, /STATUS: deployed\n/)
        assert.equal(await field('deploy/web', '.status.readyReplicas'), '2')
        assert.equal(await field('widget/web', '.spec.size'), '3', 'the schema of the CRD is used')
        assert.match(await field('svc/web', '.spec.clusterIP'), /^10\.(9[6-9]|1[01]\d)\./)
        assert.equal(await field('job/web-migrate', '.status.succeeded'), '1')
        assert.equal(
          await kit.kubectl('auth can-i list cm -n shop --as system:serviceaccount:shop:web'),
          'yes\n',
        )
        assert.match(await helm('list'), /^web\s+shop\s+1\s.*deployed\s+shop-1\.0\.0/m)
        assert.match(await helm('get manifest web'), /kind: Deployment/)
      })

      test('upgrade changes what the chart changed, and keeps what others have added', async () => {
        await kit.kubectl('annotate deploy/web -n shop team=checkout')
        await kit.kubectl('patch cm web -n shop --type=merge -p {"data":{"local":"kept"}}')
        const said = await helm(
          `upgrade web ${chart} --set image=run:2,extra=more --wait --timeout 30s`,
        )
        assert.match(said, /REVISION: 2\n/)
        assert.equal(await field('deploy/web', '.metadata.annotations.team'), 'checkout')
        assert.equal(await field('cm/web', '.data.local'), 'kept')
        assert.equal(await field('cm/web', '.data.extra'), 'more')
        assert.equal(await field('deploy/web', '.spec.template.spec.containers[0].image'), 'run:2')
        assert.equal(await field('deploy/web', '.status.updatedReplicas'), '2')
      })

      test('a field that someone else has changed meanwhile', async () => {
        await kit.kubectl('set image deploy/web -n shop web=run:drifted')
        const line = `upgrade web ${chart} --set image=run:3 --wait --timeout 30s`
        if (major === '3') await helm(line)
        else {
          // Owners are known to server-side apply: it does not take the field away unasked.
          const refused = await run(line)
          assert.notEqual(refused.code, 0)
          assert.match(refused.stderr, /conflict with "kubectl-set".*\.image/s)
          await helm(`${line} --force-conflicts`)
        }
        assert.equal(await field('deploy/web', '.spec.template.spec.containers[0].image'), 'run:3')
        assert.equal(await field('cm/web', '.data.extra'), '', 'no longer in the chart')
        assert.equal(await field('cm/web', '.data.local'), 'kept')
      })

      test('a hook that fails fails the upgrade, and rollback brings the last good one back', async () => {
        const failed = await run(
          `upgrade web ${chart} --set migrate=exit-1,color=red --wait --timeout 30s`,
        )
        assert.notEqual(failed.code, 0)
        assert.match(failed.stderr, /post-upgrade hooks failed/)
        assert.equal(await field('cm/web', '.data.color'), 'red')
        const history = await helm('history web')
        assert.match(history, /\sfailed\s/)
        await helm('rollback web 1 --wait --timeout 30s')
        assert.equal(await field('cm/web', '.data.color'), 'blue')
        assert.equal(await field('deploy/web', '.spec.template.spec.containers[0].image'), 'run:1')
        assert.match(await helm('history web'), /deployed\s.*Rollback to 1/)
      })

      test('test runs the chart’s test hooks and tells how they ended', async () => {
        assert.match(await helm('test web --timeout 20s'), /Phase:\s+Succeeded/)
      })

      test('an object that is not valid is refused with its field', async () => {
        const refused = await run(`upgrade web ${chart} --set color=green`)
        assert.match(refused.stderr, /spec\.color: Unsupported value: "green"/)
      })

      test('uninstall takes everything away but the CRD', async () => {
        assert.match(await helm('uninstall web --wait --timeout 30s'), /release "web" uninstalled/)
        const left = await kit.kubectl(
          'get deploy,rs,pods,svc,cm,role,rolebinding,widgets,secrets -n shop -o name',
        )
        const names = left.split('\n').filter((name) => name.includes('web'))
        // Pods of hooks are helm's own; it leaves them.
        assert.deepEqual(
          names.filter((name) => !/web-(test|migrate)/.test(name)),
          [],
        )
        assert.doesNotMatch(await helm('list'), /web/)
        await kit.kubectl('get crd widgets.shop.example')
      })
    })
  }
})
