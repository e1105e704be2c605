/** User names for messages. */
import { readFileSync } from 'node:fs'

/** `name (uid 1000)`, or `uid 1000` when the machine has no name for it. */
export function userName(uid: number): string {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [name, , id] = line.split(':')
      if (id === String(uid) && name !== undefined) return `user ${name} (uid ${uid})`
    }
  } catch {
    // No such file: the number has to do.
  }
  return `uid ${uid}`
}
