/** Bookinfo's front: a page that joins details and reviews, the same as JSON, and a toy login. */
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { type Answer, fetchJson, portArgument, serve, serviceUrl } from './service.ts'

const product = {
  id: 0,
  title: 'The Comedy of Errors',
  descriptionHtml:
    'Two pairs of twins, parted in a storm at sea, meet in one town on one day, and nobody can tell who owes whom what.',
}
const options = { timeoutMs: 3_000, keepAlive: false }

interface Details {
  [field: string]: string | number
}

interface Review {
  reviewer: string
  text: string
  rating?: { stars?: number; color?: string; error?: string }
}

interface Reviews {
  podname?: string
  reviews: Review[]
}

async function details(request: IncomingMessage, id: string) {
  const { status, body } = await fetchJson(
    `${serviceUrl('details')}/details/${id}`,
    request,
    options,
  )
  return status === 200
    ? { status, body: body as Details }
    : { status, body: { error: 'Sorry, product details are currently unavailable for this book.' } }
}

async function reviews(request: IncomingMessage, id: string) {
  // One retry, as people see the page load twice as slowly rather than without reviews.
  for (let attempt = 0; attempt < 2; attempt++) {
    const { status, body } = await fetchJson(
      `${serviceUrl('reviews')}/reviews/${id}`,
      request,
      options,
    )
    if (status === 200) return { status, body: body as Reviews }
    if (attempt === 1) {
      return {
        status,
        body: { error: 'Sorry, product reviews are currently unavailable for this book.' },
      }
    }
  }
  throw new Error('unreachable')
}

serve('Product page', portArgument(), async (request, url): Promise<Answer> => {
  const path = url.pathname
  if (path === '/' || path === '/index.html') return { status: 200, body: indexPage() }
  if (path === '/productpage') return productPage(request)
  if (path === '/login' && request.method === 'POST') {
    const user = new URLSearchParams(await text(request)).get('username') ?? ''
    return redirect(`session-user=${encodeURIComponent(user)}; Path=/; HttpOnly`)
  }
  if (path === '/logout') return redirect('session-user=; Path=/; Max-Age=0')
  if (path === '/api/v1/products') return { status: 200, body: [product] }
  const [, id, part] = /^\/api\/v1\/products\/(\d+)(?:\/(reviews|ratings))?$/.exec(path) ?? []
  if (id === undefined) return { status: 404, body: { error: 'not found' } }
  if (part === 'reviews') return reviews(request, id)
  if (part === 'ratings') {
    const answer = await fetchJson(`${serviceUrl('ratings')}/ratings/${id}`, request, options)
    const missing = { error: 'Sorry, product ratings are currently unavailable for this book.' }
    return { status: answer.status, body: answer.body ?? missing }
  }
  return details(request, id)
})

function redirect(cookie: string): Answer {
  return { status: 302, body: '', headers: { location: '/productpage', 'set-cookie': cookie } }
}

function sessionUser(request: IncomingMessage): string {
  const cookie = /(?:^|;\s*)session-user=([^;]*)/.exec(request.headers.cookie ?? '')?.[1]
  return cookie === undefined ? '' : decodeURIComponent(cookie)
}

async function productPage(request: IncomingMessage): Promise<Answer> {
  const user = sessionUser(request)
  if (user !== '') request.headers['end-user'] = user
  const [book, opinions] = await Promise.all([details(request, '0'), reviews(request, '0')])
  return { status: 200, body: page(user, book, opinions) }
}

const escape = (value: unknown): string =>
  String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

type DetailsAnswer = Awaited<ReturnType<typeof details>>
type ReviewsAnswer = Awaited<ReturnType<typeof reviews>>

function page(user: string, book: DetailsAnswer, opinions: ReviewsAnswer): string {
  return layout(`
<header><a href="/">BookInfo Sample</a> ${
    user === ''
      ? '<form method="post" action="login"><input name="username" placeholder="user"> <button>Sign in</button></form>'
      : `<span id="user">${escape(user)}</span> <a href="logout">sign out</a>`
  }</header>
<h1>${escape(product.title)}</h1><p>${escape(product.descriptionHtml)}</p>
<section><h2>Book Details</h2>${detailsTable(book)}</section>
<section><h2>Book Reviews</h2>${reviewsList(opinions)}</section>`)
}

function detailsTable({ status, body }: DetailsAnswer): string {
  if (status !== 200)
    return `<p class="error">Error fetching product details! ${escape(body.error)}</p>`
  const rows = Object.entries(body).map(
    ([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`,
  )
  return `<table>${rows.join('')}</table>`
}

function reviewsList({ status, body }: ReviewsAnswer): string {
  if (!('reviews' in body)) {
    return `<p class="error">Error fetching product reviews! (${status}) ${escape(body.error)}</p>`
  }
  const items = body.reviews.map(
    ({ reviewer, text: review, rating }) =>
      `<blockquote><p>${escape(review)}</p><small>${escape(reviewer)}</small> ${starsOf(rating)}</blockquote>`,
  )
  return `${items.join('')}<small>Reviews served by: <code>${escape(body.podname ?? '')}</code></small>`
}

function starsOf(rating: Review['rating']): string {
  if (rating === undefined) return ''
  if (rating.stars === undefined) return `<i>${escape(rating.error ?? '')}</i>`
  const stars = '<span class="glyphicon glyphicon-star"></span>'.repeat(rating.stars)
  const empty = '<span class="glyphicon glyphicon-star-empty"></span>'.repeat(
    Math.max(0, 5 - rating.stars),
  )
  return `<font color="${escape(rating.color ?? 'black')}">${stars}${empty}</font>`
}

function indexPage(): string {
  return layout(`<h1>BookInfo</h1><p>A small shop of four services, made to show a mesh at work.</p>
<p><a href="/productpage">The product page</a>, also as
<a href="/productpage?u=normal">normal user</a> and <a href="/productpage?u=test">test user</a></p>`)
}

function layout(body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Simple Bookstore App</title>
<style>body{font:16px/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem}
header{display:flex;justify-content:space-between}th{text-align:left;padding-right:1rem}
.glyphicon-star::before{content:"\\2605"}.glyphicon-star-empty::before{content:"\\2606"}
.error{color:#b00}blockquote{border-left:3px solid #ccc;padding-left:1rem}</style></head>
<body>${body}</body></html>`
}
