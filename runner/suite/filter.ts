import { UserError } from './errors.ts'
import { didYouMean } from './suggest.ts'

/** What a filter looks at. */
export interface Filterable {
  id: string
  title: string
  covers: readonly string[]
  level: string
  needs: readonly string[]
  targets: readonly string[]
}

export type Filter = (candidate: Filterable) => boolean

const FIELDS: Readonly<Record<string, (candidate: Filterable, word: string) => boolean>> = {
  id: ({ id }, word) => id.includes(word),
  title: ({ title }, word) => title.toLowerCase().includes(word.toLowerCase()),
  covers: ({ covers }, word) => covers.includes(word.toUpperCase()),
  level: ({ level }, word) => level === word,
  needs: ({ needs }, word) => needs.includes(word),
  target: ({ targets }, word) => targets.includes(word),
}

/**
 * `or` binds weakest, then `and` (also by mere neighbourhood), then `!`; parentheses group. A word alone is part of the
 * id; `covers:D01`, `level:basic`, `needs:querier`, `target:bridge`, `title:word`, `id:word` look there.
 */
export function parseFilter(expression: string): Filter {
  const tokens = expression.match(/[()!]|[^\s()!]+/g) ?? []
  if (tokens.length === 0) throw wrong('the filter is empty')
  const parser = new Parser(tokens)
  return parser.whole()
}

function wrong(message: string, hint = 'for example: covers:D01 and !level:basic'): UserError {
  return new UserError('bad-filter', `--filter: ${message}`, { hint })
}

class Parser {
  private readonly tokens: readonly string[]
  private at = 0

  constructor(tokens: readonly string[]) {
    this.tokens = tokens
  }

  whole(): Filter {
    const filter = this.either()
    if (this.at < this.tokens.length) throw wrong(`\`${this.tokens[this.at]}\` is left over`)
    return filter
  }

  private either(): Filter {
    const parts = [this.both()]
    while (this.take('or')) parts.push(this.both())
    return candidate => parts.some(part => part(candidate))
  }

  private both(): Filter {
    const parts = [this.unit()]
    while (this.at < this.tokens.length && this.tokens[this.at] !== 'or' && this.tokens[this.at] !== ')') {
      this.take('and')
      parts.push(this.unit())
    }
    return candidate => parts.every(part => part(candidate))
  }

  private unit(): Filter {
    if (this.take('!') || this.take('not')) {
      const inner = this.unit()
      return candidate => !inner(candidate)
    }
    if (this.take('(')) {
      const inner = this.either()
      if (!this.take(')')) throw wrong('a `)` is missing')
      return inner
    }
    const word = this.tokens[this.at++]
    if (word === undefined || ['and', 'or', ')'].includes(word))
      throw wrong(word === undefined ? 'it ends too early' : `a word is missing before \`${word}\``)
    return term(word)
  }

  private take(token: string): boolean {
    if (this.tokens[this.at] !== token) return false
    this.at++
    return true
  }
}

function term(word: string): Filter {
  const colon = word.indexOf(':')
  if (colon < 0) return ({ id }) => id.includes(word)
  const name = word.slice(0, colon)
  const value = word.slice(colon + 1)
  const test = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined
  if (!test) throw wrong(`nothing is called \`${name}:\``, didYouMean(name, Object.keys(FIELDS)))
  if (value === '') throw wrong(`a word is missing after \`${name}:\``)
  return candidate => test(candidate, value)
}
