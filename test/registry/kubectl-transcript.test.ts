/**
 * A long session of the unmodified kubectl, as people type it, with the controllers and a fake kubelet at work:
 * each line is a command and what it must say. Both pinned versions.
 */
import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { ControllersKit } from './controllers-kit.ts'
import type { Outcome } from './harness.ts'

const tickMs = 50
const crd = join(import.meta.dirname, 'testdata/shop-chart/crds/widgets.yaml')

const web = (image: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { team: a } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: c, image: '${image}', ports: [{ containerPort: 8080 }] }] }
`

/** A command line (`_` is a blank inside a word), and what it prints; a failing one starts with `!`. */
type Step = readonly [line: string, said: RegExp]

const rollouts: readonly Step[] = [
  ['apply -f {web1}', /deployment\.apps\/web created/],
  ['rollout status deploy/web --timeout=20s', /successfully rolled out/],
  ['diff -f {web1}', /^$/],
  ['!diff -f {web2}', /-      - image: run:1\n\+      - image: run:2\n/],
  ['apply -f {web2}', /configured/],
  ['rollout status deploy/web --timeout=20s', /successfully rolled out/],
  ['rollout history deploy/web', /REVISION +CHANGE-CAUSE\n1 +<none>\n2 +<none>/],
  ['rollout history deploy/web --revision=2', /Image:\trun:2/],
  ['rollout undo deploy/web', /rolled back/],
  ['rollout status deploy/web --timeout=20s', /successfully rolled out/],
  ['get deploy web -o jsonpath={..image}', /^run:1$/],
  ['rollout undo deploy/web --to-revision=2', /rolled back/],
  ['rollout pause deploy/web', /paused/],
  ['!rollout restart deploy/web', /can't restart paused deployment/],
  ['rollout resume deploy/web', /resumed/],
  ['rollout restart deploy/web', /restarted/],
  ['rollout status deploy/web --timeout=20s', /successfully rolled out/],
  ['get deploy,rs -l team=a -o name', /^deployment\.apps\/web$/m],
]

const changes: readonly Step[] = [
  ['scale deploy/web --replicas=3', /scaled/],
  ['!scale deploy/web --replicas=4 --current-replicas=7', /current replicas.*3|Expected replicas/s],
  ['get deploy web --subresource=scale -o jsonpath={.kind}/{.spec.replicas}', /^Scale\/3$/],
  ['patch deploy web --subresource=scale --type=merge -p {"spec":{"replicas":1}}', /patched/],
  ['wait deploy/web --for=jsonpath={.status.readyReplicas}=1 --timeout=10s', /condition met/],
  ['set image deploy/web c=run:3', /image updated/],
  ['set env deploy/web X=1', /env updated/],
  ['set resources deploy/web --limits=cpu=0.1', /resource requirements updated/],
  ['get deploy web -o jsonpath={..limits.cpu}/{..env[0].name}', /^100m\/X$/],
  ['set serviceaccount deploy/web default', /serviceaccount updated/],
  ['expose deploy web --port=80 --target-port=8080', /service\/web exposed/],
  ['set selector svc/web app=other', /selector updated/],
  ['label deploy web tier=front', /labeled/],
  ['!label deploy web tier=back', /already has a value \(front\)/],
  ['label deploy web tier-', /unlabeled/],
  ['annotate deploy web note=x', /annotated/],
  ['!annotate deploy web note=y --overwrite --resource-version=1', /object has been modified/],
  [
    'patch deploy web --type=json -p [{"op":"remove","path":"/metadata/annotations/note"}]',
    /patched/,
  ],
  [
    '!patch deploy web --type=json -p [{"op":"test","path":"/kind","value":"X"}]',
    /testing .*\/kind|test failed|Invalid/i,
  ],
  ['replace -f {web1}', /replaced/],
  ['replace --force -f {web1}', /"web" deleted[^]*replaced/],
  ['!create -f {web1}', /\(AlreadyExists\).*deployments\.apps "web" already exists/],
  ['autoscale deploy/web --min=1 --max=3 --cpu-percent=50', /autoscaled/],
  ['get hpa', /^web +Deployment\/web +.*50% +1 +3/m],
  ['delete hpa web', /deleted/],
  ['taint node test-node k=v:NoSchedule', /tainted/],
  ['describe node test-node', /Taints: +k=v:NoSchedule/],
  ['taint node test-node k-', /untainted/],
  ['cordon test-node', /cordoned/],
  ['get nodes', /^test-node +\S*,SchedulingDisabled/m],
  ['uncordon test-node', /uncordoned/],
]

const questions: readonly Step[] = [
  [
    'get all',
    /^deployment\.apps\/web[^]*^replicaset\.apps\/web-|^pod\/web-[^]*^service\/kubernetes/m,
  ],
  ['get pods -l app=web -o custom-columns=N:.metadata.name --no-headers', /^web-/],
  ['get pods --field-selector=status.phase=Running -o name', /^pod\/web-/m],
  ['get pods -A --sort-by=.metadata.creationTimestamp', /^NAMESPACE +NAME/],
  ['get deploy web -o go-template={{.metadata.name}}', /^web$/],
  ['get deploy,svc -o yaml', /^kind: List$/m],
  ['describe deploy web', /NewReplicaSet: +web-\w+ \(2\/2 replicas created\)[^]*ScalingReplicaSet/],
  ['describe rs', /Controlled By: +Deployment\/web/],
  ['describe pod -l app=web', /Controlled By: +ReplicaSet\/web-/],
  ['get events', /ScalingReplicaSet +deployment\/web/],
  ['events --for deploy/web', /ScalingReplicaSet +Deployment\/web/],
  ['events --types=Warning', /No events|LAST SEEN/],
  ['cluster-info', /control plane is running at https:\/\/127\.0\.0\.1/],
  ['get --raw /readyz?verbose', /readyz check passed/],
  ['version', /Server Version: v1\.\d+\.\d+\+weft/],
  ['config view --minify', /current-context: weft-test/],
  ['api-versions', /^security\.istio\.io\/v1$/m],
  ['api-resources --namespaced=false --verbs=list -o name', /^nodes$/m],
  [
    'api-resources --api-group=apps --no-headers',
    /^deployments +deploy +apps\/v1 +true +Deployment$/m,
  ],
  ['!get nonsense', /doesn't have a resource type "nonsense"/],
  ['!get pod nobody', /\(NotFound\): pods "nobody" not found/],
  ['!certificate approve x', /doesn't have a resource type/],
]

const permissions: readonly Step[] = [
  ['auth whoami', /system:masters/],
  ['auth can-i create pods', /^yes/],
  ['auth can-i --list', /\*\.\*.*\[\*\]/],
  ['!auth can-i list secrets --as=bob', /^no/],
  ['create role reader --verb=get,list --resource=pods', /created/],
  ['create rolebinding reader --role=reader --user=bob', /created/],
  ['auth can-i list pods --as=bob', /^yes/],
  ['get pods --as=bob -o name', /^pod\/web-/m],
  ['!delete pods --all --as=bob', /\(Forbidden\).*User "bob" cannot delete resource "pods"/],
  ['create clusterrole watcher --verb=watch --resource=nodes', /created/],
  ['create clusterrolebinding watcher --clusterrole=watcher --group=g', /created/],
  ['auth can-i watch nodes --as=x --as-group=g', /^yes/],
  ['create sa robot', /created/],
  ['create token robot --duration=20m', /^ey[\w-]+\.ey[\w-]+\.[\w-]+/],
]

const makers: readonly Step[] = [
  ['create ns other', /namespace\/other created/],
  ['create cm settings --from-literal=a=1 --dry-run=server', /created \(server dry run\)/],
  ['!get cm settings', /NotFound/],
  ['create cm settings --from-literal=a=1', /created/],
  ['create secret generic s --from-literal=a=1', /created/],
  ['get secret s -o jsonpath={.data.a}', /^MQ==$/],
  ['create job once --image=succeed', /job\.batch\/once created/],
  ['wait --for=condition=complete job/once --timeout=20s', /condition met/],
  ['create cronjob often --image=succeed --schedule=*/5_*_*_*_*', /created/],
  ['create job extra --from=cronjob/often', /job\.batch\/extra created/],
  ['create ingress front --rule=foo.example/=web:80', /created/],
  ['create pdb guard --selector=app=web --min-available=1', /created/],
  ['create quota q --hard=pods=3', /Warning: .*not enforced in standalone mode[^]*created|created/],
  ['create deployment second --image=run:1 --replicas=1', /created/],
  ['run solo --image=run:1 --labels=app=solo', /pod\/solo created/],
  ['wait pod/solo --for=condition=Ready --timeout=10s', /condition met/],
  ['delete pod solo --timeout=10s', /"solo" deleted/],
  ['delete deploy second --cascade=foreground --timeout=10s', /deleted/],
  ['get rs -l app=second -o name', /^$/],
  ['delete deploy web --cascade=orphan', /deleted/],
  ['get rs -l app=web -o name', /^replicaset\.apps\/web-/m],
  ['delete rs,pods -l app=web --timeout=20s', /deleted/],
  ['delete job,cronjob,ingress,pdb,quota --all --timeout=20s', /deleted/],
  ['delete ns other --timeout=10s', /"other" deleted/],
  ['!wait ns/other --for=delete=x --timeout=1s', /error/],
]

const explanations: readonly Step[] = [
  ['explain deploy', /DESCRIPTION:\n +Keeps equal pods running[^]*spec\t<DeploymentSpec>\n/],
  ['explain deployment.spec.template.spec.containers.ports', /containerPort\t<integer> -required-/],
  [
    'explain svc.spec --recursive',
    /ports\t<\[\]ServicePort>\n +appProtocol\t<string>\n[^]*targetPort\t<IntOrString>/,
  ],
  ['explain authorizationpolicy.spec.action', /ENUM:\n +ALLOW\n +DENY/],
  ['explain httproute --recursive', /backendRefs\t<\[\]Object>\n/],
  ['explain hpa --api-version=autoscaling/v1', /targetCPUUtilizationPercentage|VERSION: +v1/],
  ['apply -f {crd}', /created/],
  ['explain widgets', /DESCRIPTION:\n +Something that the shop sells/],
  [
    'explain widgets.spec',
    /color\t<string> -required-\n +enum: blue, red\n +A color that the paint shop has\./,
  ],
  ['!explain widgets.spec.nope', /field "nope" does not exist/],
  ['delete crd widgets.shop.example', /deleted/],
]

// Both at once: most of the time kubectl waits for what it has asked for.
describe('sessions', { concurrency: 2 }, () => {
  for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) session(version)
})

function session(version: KubectlVersion): void {
  describe(`kubectl ${version}`, { concurrency: 1 }, () => {
    let kit: ControllersKit
    let ticks: NodeJS.Timeout
    const files: Record<string, string> = { crd }
    before(async () => {
      kit = await ControllersKit.start(version)
      ticks = setInterval(() => kit.clock.advance(tickMs), tickMs)
      for (const index of [1, 2]) {
        files[`web${index}`] = join(kit.harness.dir, `web${index}.yaml`)
        await writeFile(files[`web${index}`] ?? '', web(`run:${index}`))
      }
    })
    after(async () => {
      clearInterval(ticks)
      await kit?.stop()
    })

    async function follow(steps: readonly Step[]): Promise<void> {
      for (const [line, said] of steps) {
        const fails = line.startsWith('!')
        const words = (fails ? line.slice(1) : line)
          .replace(/\{(\w+)\}/g, (whole, name: string) => files[name] ?? whole)
          .split(' ')
          .map((word) => word.replaceAll('_', ' '))
        const { code, stdout, stderr } = await kit.harness.run(words)
        const told = `$ kubectl ${line} (exit code ${code})\n${stdout}${stderr}`
        assert.equal(code !== 0, fails, told)
        assert.match(fails ? stderr + stdout : stdout, said, told)
      }
    }

    test('rollouts: apply, diff, status, history, undo, pause, restart', () => follow(rollouts))
    test('changes: scale, set, label, annotate, patch, replace, autoscale, taint', () =>
      follow(changes))
    test('questions: get, describe, events, versions, resources', () => follow(questions))
    test('permissions: auth, roles, impersonation, tokens', () => follow(permissions))
    test('makers and deletion: create, run, wait, delete with its propagation', () =>
      follow(makers))
    test('explain knows types, what is required, choices, and what authors wrote', () =>
      follow(explanations))

    test('edit saves what is changed, and shows what is wrong with it', async () => {
      const editor = async (name: string, script: string): Promise<string> => {
        const path = join(kit.harness.dir, name)
        await writeFile(path, `#!/bin/sh\n${script}\n`)
        await chmod(path, 0o700)
        return path
      }
      const edit = async (name: string, script: string): Promise<Outcome> =>
        kit.harness.run(['edit', 'cm', 'edited'], '', { EDITOR: await editor(name, script) })
      await kit.kubectl('create cm edited --from-literal=color=blue')
      const saved = await edit('good', 'sed -i s/blue/red/ "$1"')
      assert.match(saved.stdout, /configmap\/edited edited/, saved.stderr)
      assert.equal(await kit.kubectl('get cm edited -o jsonpath={.data.color}'), 'red')
      const unchanged = await edit('same', 'exit 0')
      assert.match(unchanged.stderr, /Edit cancelled, no changes made/)
      const seen = join(kit.harness.dir, 'seen')
      const wrong = await edit('bad', `cp "$1" ${seen}; sed -i 's/color: red/"a b": x/' "$1"`)
      assert.equal(wrong.code, 1)
      // kubectl opens the editor again, with the reason above the text.
      assert.match(await readFile(seen, 'utf8'), /^# [^]*a valid config key must consist of/)
      assert.equal(await kit.kubectl('get cm edited -o jsonpath={.data.color}'), 'red')
    })

    test('logs: every option arrives, of all containers and of all pods of a selector', async () => {
      const pod = `{name: NAME, labels: {app: logged}}\nspec: {containers: [{name: a, image: 'run:1'}, {name: b, image: 'run:1'}]}`
      for (const name of ['one', 'two']) {
        const manifest = `apiVersion: v1\nkind: Pod\nmetadata: ${pod.replace('NAME', name)}\n`
        await kit.harness.kubectl('apply -f -', manifest)
      }
      const { logged } = kit.harness.backend
      const asked = async (line: string): Promise<object[]> => {
        logged.length = 0
        await kit.kubectl(line)
        return logged.map((options) => ({ ...options }))
      }
      const plain = { follow: false, previous: false, timestamps: false }
      assert.deepEqual(await asked('logs one -c b --since=90s --tail=2 --timestamps'), [
        { container: 'b', ...plain, timestamps: true, tailLines: 2, sinceSeconds: 90 },
      ])
      assert.deepEqual(
        await asked('logs one -c a --previous --limit-bytes=9 --since-time=2026-01-01T00:00:00Z'),
        [
          {
            container: 'a',
            ...plain,
            previous: true,
            limitBytes: 9,
            sinceTime: '2026-01-01T00:00:00Z',
          },
        ],
      )
      // kubectl asks for both at once.
      const followed = (await asked('logs -f one --all-containers')).toSorted((one, two) =>
        JSON.stringify(one) < JSON.stringify(two) ? -1 : 1,
      )
      assert.deepEqual(followed, [
        { container: 'a', ...plain, follow: true },
        { container: 'b', ...plain, follow: true },
      ])
      assert.equal((await asked('logs -l app=logged --all-containers --prefix')).length, 4)
      const ambiguous = await kit.harness.run(['logs', 'one', '-c', 'c'])
      assert.match(ambiguous.stderr, /container c is not valid for pod one/)
      await kit.kubectl('delete pods -l app=logged')
    })

    test('client-side apply gives way to server-side apply by the same user', async () => {
      const manifest = (value: string): string =>
        `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: taken}\ndata: {a: '${value}'}\n`
      await kit.apply(manifest('1'))
      await kit.harness.kubectl('apply --server-side -f -', manifest('2'))
      const path = '{range .metadata.managedFields[*]}{.manager}/{.operation} {end}'
      const shown = ['--show-managed-fields', '-o', `jsonpath=${path}`]
      const { stdout } = await kit.harness.run(['get', 'cm', 'taken', ...shown])
      assert.equal(stdout.trim(), 'kubectl/Apply kubectl-last-applied/Apply')
      // The annotation follows, so that client-side apply can go on where server-side apply stopped.
      const applied = await kit.get('cm', 'taken')
      const last =
        applied.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration']
      assert.deepEqual((JSON.parse(last ?? '') as { data: object }).data, { a: '2' })
      const other = ['apply', '--server-side', '--field-manager=other', '-f', '-']
      const refused = await kit.harness.run(other, manifest('3'))
      assert.match(refused.stderr, /conflict with "kubectl": \.data\.a/)
    })
  })
}
