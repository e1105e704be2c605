/** WasmPlugin and TrafficExtension, which holds either such a plugin or a Lua script. */
import { checkTargets } from './common.ts'
import type { Complaint, Place } from './findings.ts'
import { limits } from './limits.ts'

export function checkWasmPlugin(spec: Place): void {
  checkTargets(spec)
  checkPlugin(spec)
  checkMatches(spec.at('match'))
}

export function checkTrafficExtension(spec: Place): void {
  checkTargets(spec)
  const [wasm, lua] = [spec.at('wasm'), spec.at('lua')]
  if (wasm.present === lua.present) {
    spec.error('exactly one of wasm or lua must be set')
  }
  if (wasm.present) checkPlugin(wasm)
  if (lua.present) {
    const code = lua.at('inlineCode')
    if (code.text === '') lua.error('lua.inlineCode must be set')
    if (Buffer.byteLength(code.text) > limits.luaBytes) {
      code.error(`lua.inlineCode must be at most ${limits.luaBytes} bytes long`)
    }
  }
  checkMatches(spec.at('match'))
}

function checkPlugin(plugin: Place): void {
  plugin.check(pluginUrl(plugin.at('url').text))
  const hash = plugin.at('sha256')
  if (hash.text !== '') hash.check(sha256(hash.text))
  if (plugin.at('imagePullSecret').text.length > limits.pullSecretLength) {
    plugin.error(
      `imagePullSecret field must be less than ${limits.pullSecretLength} characters long`,
    )
  }
  if (plugin.at('pluginName').text.length >= limits.pluginNameLength) {
    plugin.error(`pluginName field must be less than ${limits.pluginNameLength} characters long`)
  }
  checkEnvironment(plugin.at('vmConfig').at('env'))
}

/** Without a scheme it is an image: `registry.example.com/plugin:v1`. */
function pluginUrl(url: string): Complaint {
  if (url === '') return 'url field needs to be set'
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url)?.[1]?.toLowerCase()
  if (scheme !== undefined && !['file', 'http', 'https', 'oci'].includes(scheme)) {
    return `url contains unsupported scheme: ${scheme}`
  }
  if (/\s/.test(url) || !URL.canParse(scheme === undefined ? `http://${url}` : url)) {
    return `failed to parse url: ${JSON.stringify(url)}`
  }
  return undefined
}

function sha256(text: string): Complaint {
  if (text.length !== 64) return 'sha256 field must be 64 characters long'
  return /^[a-f0-9]+$/.test(text) ? undefined : 'sha256 field must match [a-f0-9]{64} pattern'
}

function checkEnvironment(list: Place): void {
  const names = new Set<string>()
  for (const entry of list.items) {
    const name = entry.at('name').text
    if (name === '') return entry.error('spec.vmConfig.env invalid')
    if (name.length > limits.wasmEnvironmentNameLength) {
      return entry.error(
        `env.name field must be less than ${limits.wasmEnvironmentNameLength} characters long`,
      )
    }
    if (entry.at('valueFrom').text === 'HOST' && entry.at('value').text !== '') {
      return entry.error('value may only be set when valueFrom is INLINE')
    }
    if (names.has(name)) return entry.error('duplicate env')
    names.add(name)
  }
}

function checkMatches(matches: Place): void {
  for (const [index, match] of matches.items.entries()) {
    for (const [position, port] of match.at('ports').items.entries()) {
      const { number } = port.at('number')
      if (number < 1 || number > 65_535) {
        port.error(`spec.Match[${index}].Ports[${position}] is out of range: ${number}`)
      }
    }
  }
}
