/** Where in a file a mistake is: line and column count from 1, `length` characters are underlined. */
export interface Position {
  file: string
  line: number
  col: number
  length: number
  /** The line itself. */
  source: string
}

/** A mistake of the person who wrote the suite or the command line; never a stack trace. Exit code 2. */
export class UserError extends Error {
  readonly code: string
  readonly position: Position | undefined
  /** What would be right. */
  readonly hint: string | undefined

  constructor(code: string, message: string, options: { position?: Position; hint?: string } = {}) {
    super(message)
    this.name = 'UserError'
    this.code = code
    this.position = options.position
    this.hint = options.hint
  }

  get file(): string | undefined {
    return this.position?.file
  }

  get line(): number | undefined {
    return this.position?.line
  }

  get col(): number | undefined {
    return this.position?.col
  }
}

/** Several mistakes at once: what a command throws when `loadSuites` found any. */
export class UserErrors extends AggregateError {
  declare readonly errors: UserError[]

  constructor(errors: readonly UserError[]) {
    super([...errors], errors.map(error => error.message).join('\n'))
    this.name = 'UserErrors'
  }
}

/** The error as a person reads it: place, message, source line with caret, hint. */
export function formatUserError(error: UserError): string {
  const at = error.position
  const head = printable(`${at ? `${at.file}:${at.line}:${at.col}: ` : ''}error: ${error.message} [${error.code}]`)
  const lines = [head]
  if (at && at.source !== '') lines.push(...underlined(at))
  if (error.hint !== undefined) lines.push(`  = ${printable(error.hint)}`)
  return lines.join('\n')
}

const SHOWN = 110

/** The source line, cut around the caret when long; control characters shown as dots so that a terminal is safe. */
function underlined(at: Position): string[] {
  const from = Math.max(0, Math.min(at.col - 1 - 40, at.source.length - SHOWN))
  const shown = printable(at.source.slice(from, from + SHOWN))
  const gutter = String(at.line).padStart(5)
  const column = at.col - 1 - from
  const width = Math.max(1, Math.min(at.length, shown.length - column))
  return [`${gutter} | ${shown}`, `${' '.repeat(gutter.length)} | ${' '.repeat(column)}${'^'.repeat(width)}`]
}

/** Text with everything a terminal would act on replaced by a dot: control characters and changes of direction. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e\u00a0-\u{10ffff}]|[\u2028-\u202e\u2066-\u2069]/gu, '·')
}

/** By file, then place: the order in which a person repairs them. */
export function sortErrors(errors: readonly UserError[]): UserError[] {
  return [...errors].sort(
    (a, b) =>
      (a.file ?? '').localeCompare(b.file ?? '', 'en') ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.col ?? 0) - (b.col ?? 0) ||
      a.message.localeCompare(b.message, 'en'),
  )
}
