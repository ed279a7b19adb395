import { createColors } from 'picocolors'
import type { Status } from './result.ts'

/** What a terminal can show: decided once, from the stream and the environment. */
export interface Style {
  colour: boolean
  /** Symbols outside ASCII. */
  unicode: boolean
  columns: number
}

/** The variables that decide how a report looks. */
export type Environment = {
  [name in 'NO_COLOR' | 'FORCE_COLOR' | 'TERM' | 'CI' | 'LC_ALL' | 'LC_CTYPE' | 'LANG']?: string | undefined
}

/** NO_COLOR, FORCE_COLOR, TERM and the locale decide (no-color.org); a pipe has no colour and 100 columns. */
export function styleOf(stream: { isTTY?: boolean; columns?: number }, env: Environment): Style {
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0'
  const refused = Boolean(env.NO_COLOR) || env.TERM === 'dumb'
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || ''
  return {
    colour: !refused && (forced || stream.isTTY === true),
    unicode: /utf-?8/i.test(locale),
    // 0: a terminal that nobody told its size.
    columns: Math.max(20, stream.columns || 100),
  }
}

const WORDS: Readonly<Record<Status, string>> = {
  pass: 'PASS',
  fail: 'FAIL',
  inconclusive: 'ERROR',
  skip: 'SKIP',
  waived: 'WAIVED',
}

/** A status as people read it; `inconclusive` says ERROR, as in JUnit. */
export function statusWord(status: Status): string {
  return WORDS[status]
}

export function paint(style: Style, status: Status, text: string): string {
  const colours = createColors(style.colour)
  const by = {
    pass: colours.green,
    fail: colours.red,
    inconclusive: colours.magenta,
    skip: colours.yellow,
    waived: colours.yellow,
  }
  return by[status](text)
}

export function bold(style: Style, text: string): string {
  return createColors(style.colour).bold(text)
}

export function dim(style: Style, text: string): string {
  return createColors(style.colour).dim(text)
}

/** `0.4 ms`, `12 ms`, `1.2 s`, `3 min 4 s`. */
export function durationText(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** What programs and packets say must not steer the terminal. */
export function printable(text: string): string {
  return text.replaceAll('\t', ' ').replace(/(?!\n)\p{Cc}/gu, '?')
}

/** Cut to the width of a line, with a mark where it was cut. */
export function clip(style: Style, text: string, columns = style.columns): string {
  if (text.length <= columns) return text
  const mark = style.unicode ? '…' : '...'
  return text.slice(0, Math.max(0, columns - mark.length)) + mark
}

/** Breaks at spaces; a word longer than the width stays whole, so that a path can still be copied. */
export function wrap(text: string, columns: number, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && indent.length + longer.length > columns) {
      lines.push(indent + line)
      line = word
    } else line = longer
  }
  return [...lines, indent + line]
}
