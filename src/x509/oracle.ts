/**
 * For tests only: @peculiar/x509 as a second opinion. The library asks for a Reflect metadata
 * polyfill at load; these four functions are all that it uses.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>()

const polyfill = {
  getMetadata: (key: unknown, target: object) => metadata.get(target)?.get(key),
  getOwnMetadata: (key: unknown, target: object) => metadata.get(target)?.get(key),
  hasOwnMetadata: (key: unknown, target: object) => metadata.get(target)?.has(key) ?? false,
  defineMetadata: (key: unknown, value: unknown, target: object) => {
    const values = metadata.get(target) ?? new Map<unknown, unknown>()
    metadata.set(target, values.set(key, value))
  },
}

/** The library's module. */
export async function loadOracle(): Promise<typeof import('@peculiar/x509')> {
  Object.assign(Reflect, polyfill)
  return import('@peculiar/x509')
}
