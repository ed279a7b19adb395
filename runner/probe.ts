import { BPF_TRIALS } from './probe/bpf.ts'
import { type Capability, type Trial, tryOut } from './probe/capability.ts'
import { DEVICE_TRIALS } from './probe/devices.ts'
import { FLOW_TRIALS } from './probe/flow.ts'
import { METRICS_TRIALS } from './probe/metrics.ts'
import { PRIVILEGE_TRIALS } from './probe/privilege.ts'
import { PROGRAM_TRIALS } from './probe/programs.ts'
import { ROUTING_TRIALS } from './probe/routing.ts'
import { VM_TRIALS } from './probe/virtual-machine.ts'

export type { Capability } from './probe/capability.ts'

const HOST_TRIALS: readonly Trial[] = [
  ...PRIVILEGE_TRIALS,
  ...DEVICE_TRIALS,
  ...BPF_TRIALS,
  ...PROGRAM_TRIALS,
  ...ROUTING_TRIALS,
  ...FLOW_TRIALS,
  ...METRICS_TRIALS,
]

/** What this machine can do, each found out by doing it in a namespace that is gone afterwards; about half a second. */
export function probe(only?: readonly string[]): Promise<Capability[]> {
  return Promise.all(HOST_TRIALS.filter(({ name }) => only?.includes(name) ?? true).map(tryOut))
}

/** The same with the virtual machines, which takes seconds: guests are booted. */
export function probeAll(): Promise<Capability[]> {
  return Promise.all([...HOST_TRIALS, ...VM_TRIALS].map(tryOut))
}
