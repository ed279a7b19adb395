const SHOWN_RANGES = 8

/** Ascending numbers as "17, 40-43"; what does not fit is counted, never left out silently. */
export function ranges(numbers: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < numbers.length; ) {
    const start = numbers[i]!
    let end = start
    while (++i < numbers.length && numbers[i]! <= end + 1) end = numbers[i]!
    parts.push(end === start ? String(start) : `${start}-${end}`)
  }
  if (parts.length <= SHOWN_RANGES) return parts.join(', ')
  return `${parts.slice(0, SHOWN_RANGES).join(', ')} and ${parts.length - SHOWN_RANGES} more ranges`
}

/** "1 copy", "3 copies"; the plural adds an s unless given. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}
