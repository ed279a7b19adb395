import type { Fault } from '../../bpf/faults.ts'

const twice = (analyser: 'nfdump' | 'nfacctd'): Fault => ({
  name: `${analyser}-counts-twice`,
  place: 'collector',
  requirements: ['A20'],
  description: `every message reaches ${analyser} twice, and it counts both`,
})

/** Ways in which a collector, or the way to it, is wrong on purpose. One each, so that the other one's cases stay green. */
export const COLLECTOR_FAULTS: readonly Fault[] = [twice('nfdump'), twice('nfacctd')]

/** What a collector gets of what was sent to it. */
export function withFaults(analyser: string, datagrams: readonly Uint8Array[], faults: readonly string[]) {
  return faults.includes(`${analyser}-counts-twice`) ? datagrams.flatMap(one => [one, one]) : datagrams
}
