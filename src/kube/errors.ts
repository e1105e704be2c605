/** The errors of this room which aren't answers of the API; those are in `status.ts`. */
import { MeshError } from '../base/index.ts'

export const KubeErrors = {
  badQuantity: (text: string) =>
    new MeshError(
      'KUBE_BAD_QUANTITY',
      `quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', got "${text}"`,
      { hint: 'Write a number with an optional suffix, like 500m, 2, 1.5Gi or 1e3.' },
    ),
  badSchedule: (text: string, why: string) =>
    new MeshError('KUBE_BAD_SCHEDULE', `failed to parse schedule "${text}": ${why}`, {
      hint: 'Write five fields (minute hour day month weekday), or @hourly, @daily, @every 1h.',
    }),
}
