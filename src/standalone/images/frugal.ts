/** How Weft's own long-running programs are started, so that a mesh fits on a laptop. */

/**
 * V8 lets a heap's young part grow to tens of megabytes, and glibc keeps an arena for each thread. Less of
 * both costs our programs no time (`npm run bench hbone`), and halves their memory.
 */
export const frugal = {
  flags: ['--max-semi-space-size=2'],
  env: { MALLOC_ARENA_MAX: '2' },
} as const
