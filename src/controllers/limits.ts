/** The limits of the controllers, each with its reason. */
export const limits = {
  /** How many pods one pass creates or deletes; the rest follows when these are seen. */
  podBurst: 50,
  /** A creation not seen for so long was lost; then the controller counts again. */
  expectationMs: 30_000,
  /** Events which can be repeated by a count; older ones are written anew. */
  eventsRememberedMax: 1000,
  /** Names have 253 characters; the serial number needs the rest. */
  eventNamePrefixMax: 220,
  /** As in Kubernetes. */
  eventLifeMs: 3_600_000,
  /** Together, so that a burst of old events is one pause of the server, not a thousand. */
  eventsDeletedAtOnce: 20,
  /** As in Kubernetes: 10 s, 20 s ... 10 min after failed pods of a Job. */
  jobBackoffMs: 10_000,
  jobBackoffMaxMs: 600_000,
  /** A crashing pod of a DaemonSet is made anew after 1 s, 2 s ... 15 min. */
  daemonBackoffMs: 1_000,
  daemonBackoffMaxMs: 900_000,
  /** More missed times than this mean a wrong clock or a schedule that can't be met. */
  missedSchedulesMax: 100,
  /** Evicted pods that are still there count as disrupted for so long. */
  disruptedPodMs: 120_000,
  /** How often an autoscaler looks at the metrics. */
  autoscalerPeriodMs: 15_000,
  /** A new pod's processor use says little while it starts. */
  autoscalerWarmUpMs: 300_000,
} as const
