/** The libraries that come with the room, put together. */
import { addresses } from './library/addresses.ts'
import { conversions } from './library/conversions.ts'
import { formatting } from './library/formatting.ts'
import { lists } from './library/lists.ts'
import { operators } from './library/operators.ts'
import { optionals } from './library/optionals.ts'
import { regex } from './library/regex.ts'
import { texts } from './library/texts.ts'
import { time } from './library/time.ts'
import { urls } from './library/urls.ts'
import type { Library } from './library.ts'

/** What the language's definition has. */
export const standardLibraries: readonly Library[] = [operators, conversions, time, texts, regex]

/** What the Kubernetes API has besides, but for the types of its own room (quantities, formats). */
export const kubernetesLibraries: readonly Library[] = [
  ...standardLibraries,
  formatting,
  lists,
  optionals,
  addresses,
  urls,
]
