import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builtinDefaults, builtinValidation } from '../index.ts'

type Loose = Record<string, unknown>

/** `field: message` of what is wrong with a spec, after defaults. */
function complaints(group: string, kind: string, spec: Loose, name = 'x'): string[] {
  const version = group === 'autoscaling' ? 'v2' : 'v1'
  const gvk = { group, version, kind }
  const object = { apiVersion: `${group}/${version}`, kind, metadata: { name, uid: 'u' }, spec }
  builtinDefaults(gvk, object)
  return builtinValidation(gvk, object).map(({ field, message }) => `${field}: ${message}`)
}

const template = (restartPolicy?: string): Loose => ({
  metadata: { labels: { app: 'a' } },
  spec: {
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
    containers: [{ name: 'c', image: 'a:1' }],
  },
})

const job = (spec: Loose, policy: string | undefined = 'Never'): string[] =>
  complaints('batch', 'Job', { template: template(policy), ...spec })

test('a job that can be run is accepted', () => {
  assert.deepEqual(job({}), [])
  const indexed = { completionMode: 'Indexed', completions: 3, backoffLimitPerIndex: 1 }
  assert.deepEqual(job({ ...indexed, maxFailedIndexes: 2 }), [])
  const rules = [
    { action: 'FailJob', onExitCodes: { containerName: 'c', operator: 'In', values: [42] } },
    { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] },
  ]
  assert.deepEqual(job({ podFailurePolicy: { rules } }), [])
})

test('what is wrong with a job is said with its field', () => {
  const rule = (value: Loose): Loose => ({ podFailurePolicy: { rules: [value] } })
  const at = 'spec.podFailurePolicy.rules[0]'
  const cases: [string[], string][] = [
    [
      complaints('batch', 'Job', { template: template() }),
      'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ],
    [
      job({ completionMode: 'Indexed', completions: undefined, parallelism: 2 }),
      'spec.completions: Required value: when completion mode is Indexed',
    ],
    [
      job({ backoffLimitPerIndex: 1 }),
      'spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode',
    ],
    [
      job({ completionMode: 'Odd' }),
      'spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"',
    ],
    [
      job(rule({ action: 'Count', onPodConditions: [{ type: 'A' }] }), 'OnFailure'),
      'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified',
    ],
    [
      job(rule({ action: 'FailIndex', onPodConditions: [{ type: 'A' }] })),
      `${at}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set`,
    ],
    [
      job(rule({ action: 'Count', onExitCodes: { operator: 'In', values: [3, 0] } })),
      `${at}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator`,
    ],
    [
      job(rule({ action: 'Count' })),
      `${at}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required`,
    ],
  ]
  for (const [found, expected] of cases) assert.ok(found.includes(expected), found.join('\n'))
})

test('schedules, zones and names of cron jobs are checked', () => {
  const cron = (spec: Loose, name?: string): string[] => {
    const jobTemplate = { spec: { template: template('Never') } }
    return complaints('batch', 'CronJob', { schedule: '@daily', jobTemplate, ...spec }, name)
  }
  assert.deepEqual(cron({ timeZone: 'Europe/Berlin', schedule: '*/5 9-17 * * mon-fri' }), [])
  const cases: [string[], RegExp][] = [
    [
      cron({ schedule: '* * *' }),
      /^spec\.schedule: Invalid value: "\* \* \*": .*expected exactly 5/,
    ],
    [cron({ schedule: 'TZ=UTC 0 0 * * *' }), /cannot use TZ or CRON_TZ in schedule, use timeZone/],
    [cron({ timeZone: 'Mars/Phobos' }), /^spec\.timeZone: .*unknown time zone Mars\/Phobos$/],
    [cron({ concurrencyPolicy: 'Never' }), /^spec\.concurrencyPolicy: Unsupported value: "Never"/],
    [cron({}, 'n'.repeat(53)), /^metadata\.name: .*must be no more than 52 characters$/],
  ]
  for (const [found, expected] of cases) {
    assert.ok(
      found.some((each) => expected.test(each)),
      found.join('\n'),
    )
  }
})

test('an autoscaler needs a target, bounds in order, and metrics that can be read', () => {
  const hpa = (spec: Loose): string[] =>
    complaints('autoscaling', 'HorizontalPodAutoscaler', {
      scaleTargetRef: { kind: 'Deployment', name: 'd' },
      maxReplicas: 3,
      ...spec,
    })
  assert.deepEqual(hpa({}), [])
  const target = { type: 'Utilization', averageUtilization: 0 }
  const policies = [{ type: 'Pods', value: 0, periodSeconds: 15 }]
  const cases: [string[], string][] = [
    [
      hpa({ minReplicas: 5 }),
      'spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`',
    ],
    [hpa({ scaleTargetRef: undefined }), 'spec.scaleTargetRef: Required value'],
    [
      hpa({ metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] }),
      'spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0',
    ],
    [
      hpa({ metrics: [{ type: 'Pods' }] }),
      'spec.metrics[0].pods: Required value: must populate information for the given metric source',
    ],
    [
      hpa({ behavior: { scaleUp: { policies } } }),
      'spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero',
    ],
  ]
  for (const [found, expected] of cases) assert.ok(found.includes(expected), found.join('\n'))
})

test('a daemon set surges or goes without, not both and not neither', () => {
  const daemons = (rollingUpdate: Loose): string[] =>
    complaints('apps', 'DaemonSet', {
      selector: { matchLabels: { app: 'a' } },
      template: template(),
      updateStrategy: { type: 'RollingUpdate', rollingUpdate },
    })
  assert.deepEqual(daemons({ maxSurge: 1, maxUnavailable: 0 }), [])
  const at = 'spec.updateStrategy.rollingUpdate'
  assert.deepEqual(daemons({ maxSurge: 1 }), [
    `${at}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero`,
  ])
  assert.deepEqual(daemons({ maxUnavailable: 0 }), [
    `${at}.maxUnavailable: Invalid value: 0: cannot be 0 when maxSurge is 0`,
  ])
})
