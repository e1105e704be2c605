/**
 * Test-only seams: `npm run features -- --sabotage ID` sets WEFT_SABOTAGE to the name of a seam, which
 * switches one feature off, so that its test has to turn red. Without the variable they are free.
 */
/** The name of the variable, for those who start our programs in an environment of their own. */
export const sabotageVariable = 'WEFT_SABOTAGE'

const sabotage = process.env[sabotageVariable]

/** The seam that is switched off, if any. */
export function activeSabotage(): string | undefined {
  return sabotage
}

/** Whether the feature behind this seam is switched off. */
export function sabotaged(seam: string): boolean {
  return sabotage !== undefined && sabotage === seam
}
