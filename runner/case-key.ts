/** A case is one of its target: a suite for two targets has the same id on both, and each has its own fate. */
export function caseKey(target: string, id: string): string {
  return `${target} ${id}`
}
