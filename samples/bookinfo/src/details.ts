/** Bookinfo's details service: the facts of a book. */
import { portArgument, serve } from './service.ts'

serve('Details', portArgument(), (_request, url) => {
  const id = /^\/details\/(\d+)$/.exec(url.pathname)?.[1]
  if (id === undefined) {
    return {
      status: url.pathname.startsWith('/details/') ? 400 : 404,
      body: { error: 'please provide numeric product id' },
    }
  }
  return {
    status: 200,
    body: {
      id: Number(id),
      author: 'William Shakespeare',
      year: 1595,
      type: 'paperback',
      pages: 200,
      publisher: 'PublisherA',
      language: 'English',
      'ISBN-10': '1234567890',
      'ISBN-13': '123-1234567890',
    },
  }
})
