/** The event loop's watch on a descriptor that Node has no class for (libuv's uv_poll, by koffi). */

export interface PollInterest {
  readonly readable?: boolean
  readonly writable?: boolean
}

export interface PollHandle {
  /** Starts or changes the watch; only one callback is active. */
  start(
    interest: PollInterest,
    callback: (status: number, events: { readable: boolean; writable: boolean }) => void,
  ): void
  stop(): void
  /** The descriptor itself stays open. */
  close(): void
  ref(): void
  unref(): void
}
