import { InvalidArgumentError } from 'commander'

/** Parser of a whole number between two bounds, for commander; its message says what would be right. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return text => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    const bounds = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`
    throw new InvalidArgumentError(`It must be a whole number ${bounds}.`)
  }
}

/** Seconds, with a fraction if you like; more than zero. */
export function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value > 0) return value
  throw new InvalidArgumentError('It must be a number of seconds above 0, such as 10 or 0.5.')
}

/** For an option that may be given several times, and once with commas. */
export function list(text: string, before: string[]): string[] {
  const items = text.split(',').filter(item => item !== '')
  if (items.length === 0) throw new InvalidArgumentError('It must not be empty.')
  return [...before, ...items]
}

/** For an option that may be given several times and may hold commas. */
export function each(text: string, before: string[]): string[] {
  if (text === '') throw new InvalidArgumentError('It must not be empty.')
  return [...before, text]
}

/** IGMP version by number. */
export function igmpVersion(text: string): 1 | 2 | 3 {
  if (text === '1' || text === '2' || text === '3') return Number(text) as 1 | 2 | 3
  throw new InvalidArgumentError('It must be 1, 2 or 3.')
}

/** UDP ports: an option that may be given several times. */
export function ports(text: string, before: number[]): number[] {
  return [...before, wholeNumber(1, 65535)(text)]
}

/** Collectors that can be fed: an option that may be given several times. */
export function analysers(text: string, before: string[]): string[] {
  if (text !== 'nfdump' && text !== 'nfacctd') throw new InvalidArgumentError('Allowed choices are nfdump, nfacctd.')
  return [...before, text]
}
