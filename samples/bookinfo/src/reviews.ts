/**
 * Bookinfo's reviews service. v1 asks nobody for stars, v2 shows black ones, v3 red ones
 * (environment ENABLE_RATINGS and STAR_COLOR, which the image names imply).
 */
import { hostname } from 'node:os'
import { fetchJson, portArgument, serve, serviceUrl } from './service.ts'

const version = process.env.REVIEWS_VERSION ?? 'v1'
const withRatings = (process.env.ENABLE_RATINGS ?? String(version !== 'v1')) === 'true'
const color = process.env.STAR_COLOR ?? (version === 'v3' ? 'red' : 'black')
/** Slow ratings are waited for 10 s with black stars and 2.5 s with red: faults show differently. */
const timeoutMs = color === 'black' ? 10_000 : 2_500

const texts = {
  Reviewer1: 'A joy from the first mistaken twin to the last; I laughed on every page.',
  Reviewer2: 'Great fun, though it lacks the depth of the later plays by the same hand.',
}

serve('Reviews', portArgument(), async (request, url) => {
  const id = /^\/reviews\/(\d+)$/.exec(url.pathname)?.[1]
  if (id === undefined) return { status: 404, body: { error: 'please provide numeric product id' } }
  const stars = withRatings ? await ratingsOf(id) : undefined
  const reviews = Object.entries(texts).map(([reviewer, review]) => ({
    reviewer,
    text: review,
    ...(withRatings ? { rating: ratingOf(stars, reviewer) } : {}),
  }))
  return {
    status: 200,
    body: { id, podname: hostname(), clustername: process.env.CLUSTER_NAME ?? 'null', reviews },
  }

  async function ratingsOf(product: string): Promise<Record<string, number> | undefined> {
    const answer = await fetchJson(`${serviceUrl('ratings')}/ratings/${product}`, request, {
      timeoutMs,
      keepAlive: true,
    })
    return answer.status === 200
      ? (answer.body as { ratings: Record<string, number> }).ratings
      : undefined
  }
})

function ratingOf(stars: Record<string, number> | undefined, reviewer: string): object {
  const value = stars?.[reviewer]
  return value === undefined
    ? { error: 'Ratings service is currently unavailable' }
    : { stars: value, color }
}
