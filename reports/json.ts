import type { RunResult } from './result.ts'

/** `result.json`: everything a report says, in the order of result.ts. */
export function resultJson(result: RunResult): string {
  return `${JSON.stringify(result, null, 2)}\n`
}
