/**
 * Log lines of broker and init go to a file. On a full disk a line is lost and nothing else happens: a
 * stream would raise an error that ends the process, and would stay broken when there is space again.
 */
import { writeSync } from 'node:fs'

export function writeLogLine(line: string): void {
  try {
    writeSync(1, line)
  } catch {
    // There is no other place to say it.
  }
}
