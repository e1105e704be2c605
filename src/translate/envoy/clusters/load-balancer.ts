/** How a cluster chooses among its endpoints. */
import type { LoadBalancerSettings } from '../../../model/index.ts'
import { cluster as api, percent } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { LocalityPolicy } from '../endpoints/locality.ts'
import { durationField, durationMs } from '../values.ts'

type Balancing = Pick<api.Cluster, 'lbPolicy' | 'lbConfig'>

const defaultMinimumRing = 1024

export function balancing(settings: LoadBalancerSettings | undefined): Balancing {
  const hash = settings?.consistentHash
  if (hash !== undefined) {
    if (hash.maglev !== undefined) {
      const { tableSize } = hash.maglev
      return {
        lbPolicy: api.Cluster_LbPolicy.MAGLEV,
        lbConfig: {
          case: 'maglevLbConfig',
          value: create(
            api.Cluster_MaglevLbConfigSchema,
            tableSize ? { tableSize: BigInt(tableSize) } : {},
          ),
        },
      }
    }
    const minimum = hash.ringHash?.minimumRingSize ?? hash.minimumRingSize
    return {
      lbPolicy: api.Cluster_LbPolicy.RING_HASH,
      lbConfig: {
        case: 'ringHashLbConfig',
        value: create(api.Cluster_RingHashLbConfigSchema, {
          minimumRingSize: BigInt(minimum || defaultMinimumRing),
        }),
      },
    }
  }
  return simpleBalancing(settings)
}

function simpleBalancing(settings: LoadBalancerSettings | undefined): Balancing {
  const slow = slowStart(settings)
  switch (settings?.simple) {
    case 'RANDOM':
      return { lbPolicy: api.Cluster_LbPolicy.RANDOM, lbConfig: { case: undefined } }
    case 'PASSTHROUGH':
      return { lbPolicy: api.Cluster_LbPolicy.CLUSTER_PROVIDED, lbConfig: { case: undefined } }
    case 'ROUND_ROBIN':
      return {
        lbPolicy: api.Cluster_LbPolicy.ROUND_ROBIN,
        lbConfig:
          slow === undefined
            ? { case: undefined }
            : {
                case: 'roundRobinLbConfig',
                value: create(api.Cluster_RoundRobinLbConfigSchema, { slowStartConfig: slow }),
              },
      }
    default:
      return {
        lbPolicy: api.Cluster_LbPolicy.LEAST_REQUEST,
        lbConfig:
          slow === undefined
            ? { case: undefined }
            : {
                case: 'leastRequestLbConfig',
                value: create(api.Cluster_LeastRequestLbConfigSchema, { slowStartConfig: slow }),
              },
      }
  }
}

const defaultWarmupPercent = 10

/** New endpoints get their share gradually. */
function slowStart(
  settings: LoadBalancerSettings | undefined,
): api.Cluster_SlowStartConfig | undefined {
  const warmup = settings?.warmup ?? { duration: settings?.warmupDurationSecs }
  if (durationMs(warmup.duration) === undefined) return undefined
  const minimum = 'minimumPercent' in warmup ? warmup.minimumPercent : undefined
  const aggression = 'aggression' in warmup ? warmup.aggression : undefined
  return create(api.Cluster_SlowStartConfigSchema, {
    ...durationField('slowStartWindow', warmup.duration),
    minWeightPercent: create(percent.PercentSchema, { value: minimum ?? defaultWarmupPercent }),
    ...(aggression === undefined
      ? {}
      : {
          aggression: { defaultValue: aggression, runtimeKey: '' },
        }),
  })
}

const allRequests = 100

/** How weights of localities and the number of healthy endpoints enter the choice. */
export function commonBalancing(
  distance: LocalityPolicy,
  minHealthPercent: number | undefined,
): { commonLbConfig?: api.Cluster_CommonLbConfig } {
  const { setting, failover, zoneAware } = distance
  const weighted = setting !== undefined && (failover || (setting.distribute ?? []).length > 0)
  if (!weighted && zoneAware === undefined && minHealthPercent === undefined) return {}
  return {
    commonLbConfig: create(api.Cluster_CommonLbConfigSchema, {
      ...(minHealthPercent === undefined
        ? {}
        : {
            healthyPanicThreshold: create(percent.PercentSchema, { value: minHealthPercent }),
          }),
      localityConfigSpecifier:
        zoneAware !== undefined
          ? {
              case: 'zoneAwareLbConfig',
              value: create(api.Cluster_CommonLbConfig_ZoneAwareLbConfigSchema, {
                routingEnabled: create(percent.PercentSchema, { value: allRequests }),
                ...(zoneAware.minClusterSize === undefined
                  ? {}
                  : { minClusterSize: BigInt(zoneAware.minClusterSize) }),
              }),
            }
          : weighted
            ? {
                case: 'localityWeightedLbConfig',
                value: create(api.Cluster_CommonLbConfig_LocalityWeightedLbConfigSchema),
              }
            : { case: undefined },
    }),
  }
}
