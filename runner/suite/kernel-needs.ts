/**
 * Needs that another kernel may meet where this machine's does not. Cases that have one are in stages of their own: those
 * alone move to a virtual machine.
 */
const KERNEL_NEEDS: ReadonlySet<string> = new Set(['esp', 'metrics', 'netem', 'tracing'])

export function kernelNeedsOf(needs: readonly string[]): string[] {
  return needs.filter(need => KERNEL_NEEDS.has(need)).sort()
}
