import { FAULTS, type Fault } from '../bpf/faults.ts'
import { FLOW_FAULTS } from '../bpf/flow-faults.ts'
import { ROUTER_FAULTS } from '../bpf/router-faults.ts'
import { SOCKET_FAULTS } from '../bpf/socket-faults.ts'
import { COLLECTOR_FAULTS } from './analyser/faults.ts'
import { UserError } from './suite/errors.ts'
import { didYouMean } from './suite/suggest.ts'
import { ENCRYPTION_FAULTS } from './target/encryption-faults.ts'

export const ALL_FAULTS: readonly Fault[] = [
  ...FAULTS,
  ...ENCRYPTION_FAULTS,
  ...FLOW_FAULTS,
  ...ROUTER_FAULTS,
  ...COLLECTOR_FAULTS,
  ...SOCKET_FAULTS,
]

const OF_ROUTER: ReadonlySet<Fault['place']> = new Set(['exporter', 'router', 'collector'])

/** The target whose SUT can be broken in this way. */
export function targetOfFault({ place }: Fault): 'reference' | 'router' {
  return OF_ROUTER.has(place) ? 'router' : 'reference'
}

/** Of these faults those that a target's SUT can have. */
export function faultsOfTarget(names: readonly string[], target: string): string[] {
  return names.filter(name => ALL_FAULTS.some(fault => fault.name === name && targetOfFault(fault) === target))
}

/** Names of faults as the command line gives them; a name that is not in the registry is the user's mistake. */
export function faultNames(given: readonly string[]): string[] {
  const known = ALL_FAULTS.map(fault => fault.name)
  for (const name of given) {
    if (!known.includes(name))
      throw new UserError('unknown-fault', `no fault is called ${name}`, { hint: didYouMean(name, known) })
  }
  return [...given]
}
