import { FAULTS, type Fault } from '../bpf/faults.ts'
import { UserError } from './suite/errors.ts'
import { didYouMean } from './suite/suggest.ts'

export const ALL_FAULTS: readonly Fault[] = FAULTS

/** Names of faults as the command line gives them; a name that is not in the registry is the user's mistake. */
export function faultNames(given: readonly string[]): string[] {
  const known = ALL_FAULTS.map(fault => fault.name)
  for (const name of given) {
    if (!known.includes(name))
      throw new UserError('unknown-fault', `no fault is called ${name}`, { hint: didYouMean(name, known) })
  }
  return [...given]
}
