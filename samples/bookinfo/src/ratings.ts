/** Bookinfo's ratings service: stars by reviewer, kept in memory; POST replaces those of a product. */
import { text } from 'node:stream/consumers'
import { portArgument, serve } from './service.ts'

const ratings = new Map<number, Record<string, number>>()

serve('Ratings', portArgument(), async (request, url) => {
  const id = /^\/ratings\/(\d+)$/.exec(url.pathname)?.[1]
  if (id === undefined) {
    return {
      status: url.pathname.startsWith('/ratings/') ? 400 : 404,
      body: { error: 'please provide numeric product ID' },
    }
  }
  const product = Number(id)
  if (request.method === 'POST') {
    try {
      // Checked by its use: anything but an object of numbers is refused below.
      const posted = JSON.parse(await text(request)) as Record<string, number>
      if (Object.values(posted).some((stars) => typeof stars !== 'number')) throw new Error('stars')
      ratings.set(product, posted)
    } catch {
      return { status: 400, body: { error: 'please provide valid ratings JSON' } }
    }
  }
  return {
    status: 200,
    body: { id: product, ratings: ratings.get(product) ?? { Reviewer1: 5, Reviewer2: 4 } },
  }
})
