/**
 * Says that the running test cannot do its work here, for want of a capability that `castproof probe` names. The runner
 * counts it as skipped, or as failed when the probe says that this machine has the capability after all.
 */
export function skip(capability: string, why: string): void {
  console.log(`\n@skip ${capability} ${why.replace(/\s+/g, ' ')}`)
}

/** For `.catch`: what throws Unsupported is a skip and gives undefined; any other error goes on. */
export function skipUnsupported(capability: string): (error: unknown) => undefined {
  return error => {
    if (!(error instanceof Error && error.name === 'Unsupported')) throw error
    skip(capability, error.message)
    return undefined
  }
}
