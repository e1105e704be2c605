/**
 * Test-only seams: `npm run features -- --sabotage ID` sets WEFT_SABOTAGE to the name of a seam, which
 * switches one feature off, so that its test has to turn red. Without the variable they are free.
 */
const sabotage = process.env.WEFT_SABOTAGE

/** Whether the feature behind this seam is switched off. */
export function sabotaged(seam: string): boolean {
  return sabotage !== undefined && sabotage === seam
}
