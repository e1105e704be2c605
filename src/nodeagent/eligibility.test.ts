import assert from 'node:assert'
import { describe, it } from 'node:test'
import { defaultSelectors, isEligible, ruleOptionsOf } from './eligibility.ts'
import type { Pod } from './types.ts'

const options = {
  selectors: defaultSelectors,
  excludeNamespaces: ['kube-system'],
  systemNamespace: 'istio-system',
}
const ambient = { 'istio.io/dataplane-mode': 'ambient' }
const none = { 'istio.io/dataplane-mode': 'none' }

function pod(
  metadata: Partial<Pod['metadata']> = {},
  spec: Pod['spec'] = {},
  phase = 'Running',
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'apps', uid: 'u', ...metadata },
    spec,
    status: { phase },
  }
}

describe('eligibility', () => {
  const cases: [string, boolean, Pod, Record<string, string>?][] = [
    ['a pod with the label', true, pod({ labels: ambient })],
    ['a pod of a namespace with the label', true, pod(), ambient],
    ['a pod without any label', false, pod(), {}],
    ['a pod whose namespace is not known', false, pod()],
    ['a pod that says none in a namespace with the label', false, pod({ labels: none }), ambient],
    ['a pod with the label in a namespace that says none', true, pod({ labels: ambient }), none],
    ['a pod of the host network', false, pod({ labels: ambient }, { hostNetwork: true })],
    [
      'a pod with a sidecar',
      false,
      pod({ labels: ambient, annotations: { 'sidecar.istio.io/status': '{}' } }),
    ],
    ['a pod in kube-system', false, pod({ labels: ambient, namespace: 'kube-system' })],
    [
      'ztunnel itself',
      false,
      pod({ labels: { ...ambient, app: 'ztunnel' }, namespace: 'istio-system' }),
    ],
    [
      'an application called ztunnel elsewhere',
      true,
      pod({ labels: { ...ambient, app: 'ztunnel' } }),
    ],
    ['a pod that succeeded', false, pod({ labels: ambient }, {}, 'Succeeded')],
    ['a pod that failed', false, pod({ labels: ambient }, {}, 'Failed')],
    ['a pod that is about to start', true, pod({ labels: ambient }, {}, 'Pending')],
  ]
  for (const [what, expected, object, labels] of cases) {
    it(`${what} is ${expected ? '' : 'not '}in the mesh`, () => {
      assert.strictEqual(isEligible(object, labels, options), expected)
    })
  }

  it('other selectors replace the default ones', () => {
    const selectors = [{ namespaceSelector: { matchLabels: { team: 'a' } } }]
    assert.strictEqual(isEligible(pod(), { team: 'a' }, { ...options, selectors }), true)
    assert.strictEqual(isEligible(pod({ labels: ambient }), {}, { ...options, selectors }), false)
  })
})

describe('rule variants from annotations', () => {
  const of = (annotations: Record<string, string>, dnsCapture = true) =>
    ruleOptionsOf(pod({ annotations }), { dnsCapture })

  it('DNS capture follows the default unless the pod says otherwise', () => {
    assert.strictEqual(of({}).options.dns, true)
    assert.strictEqual(of({}, false).options.dns, false)
    assert.strictEqual(of({ 'ambient.istio.io/dns-capture': 'false' }).options.dns, false)
    assert.strictEqual(of({ 'ambient.istio.io/dns-capture': 'true' }, false).options.dns, true)
  })

  it('inbound capture can be bypassed', () => {
    assert.strictEqual(of({}).options.inbound, true)
    assert.strictEqual(
      of({ 'ambient.istio.io/bypass-inbound-capture': 'true' }).options.inbound,
      false,
    )
  })

  it('a value that is no boolean keeps the default and is reported with its field', () => {
    const { options: chosen, problems } = of({ 'ambient.istio.io/dns-capture': 'maybe' })
    assert.strictEqual(chosen.dns, true)
    assert.match(problems.join(), /ambient\.istio\.io\/dns-capture is "maybe"/)
  })

  it('only interface names get into rules; anything else is reported', () => {
    const name = 'istio.io/reroute-virtual-interfaces'
    assert.deepStrictEqual(of({ [name]: 'vnet0, br-vm.1' }).options.virtualInterfaces, [
      'vnet0',
      'br-vm.1',
    ])
    const evil = of({ [name]: 'ok0,x -j ACCEPT\n-A OUTPUT,"; drop,-A,waytoolongforaninterface' })
    assert.deepStrictEqual(evil.options.virtualInterfaces, ['ok0'])
    assert.strictEqual(evil.problems.length, 1)
  })
})
