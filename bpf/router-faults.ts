import { attachTc, BpfObject, detachTcProgram, update } from '../generators/linux/libbpf.ts'
import { inNetns, type Netns } from '../generators/linux/netns.ts'
import type { Fault } from './faults.ts'
import { u32Key } from './maps.ts'
import { objectPath } from './object-path.ts'

const fault = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'router',
  requirements,
  description,
})

/** Bit n of the mask is entry n: the order is that of enum router_fault in router-faults.h. */
export const ROUTER_FAULTS: readonly Fault[] = [
  fault('hello-ttl', ['P02'], 'Hello leaves with TTL 64'),
  fault('join-ttl', ['P03'], 'Join/Prune leaves with TTL 64'),
  fault('prune-lost', ['P04'], 'Prunes do not leave the router'),
  fault('register-lost', ['P05'], 'Registers do not leave the router'),
  fault('register-stop-lost', ['P06'], 'Register-Stop does not leave the Rendezvous Point'),
  fault('ttl-kept', ['P08'], 'the TTL of what is forwarded is one too many'),
  fault('ttl-1-forwarded', ['P08'], 'datagrams with TTL 1 are forwarded'),
  fault('rpf-ignored', ['P07'], "the source's datagrams are sent on from the wrong interface too"),
  fault('link-local-forwarded', ['P10'], 'datagrams to 224.0.0.0/24 are sent on'),
  fault('third-copy-twice', ['P01'], 'the copy for R4 leaves twice'),
  fault('copy-unasked', ['P01'], 'R2 gets the stream whether or not somebody behind it has joined'),
  fault('tos-cleared-by-router', ['P13'], 'the Type of Service octet of what is forwarded is zero'),
  fault('assert-sent', ['P09'], 'an Assert goes with every Hello'),
]

/** Behind the flow cache, which counts what the router does before that is altered. */
const PRIORITY = 2
const PROGRAMS = ['router_ingress', 'router_egress'] as const

/** Where copies go that should not be made, for the faults that make such. */
const DETOUR_FAULTS: readonly string[] = ['rpf-ignored', 'link-local-forwarded', 'copy-unasked']

export interface FaultyInterface {
  index: number
  /** By fault: the interface that a copy of what comes in here leaves by. */
  detours?: Readonly<Record<string, number>>
  isThird?: boolean
}

/** Faults at the interfaces of one router, until `close`. */
export class RouterFaults {
  readonly #object: BpfObject
  readonly #ns: Netns
  readonly #interfaces: readonly FaultyInterface[]

  private constructor(object: BpfObject, ns: Netns, interfaces: readonly FaultyInterface[]) {
    this.#object = object
    this.#ns = ns
    this.#interfaces = interfaces
  }

  static attach(names: readonly string[], ns: Netns, interfaces: readonly FaultyInterface[]): RouterFaults {
    const object = new BpfObject(objectPath('router-faults'))
    try {
      object.section('.rodata.config').writeBigUInt64LE(maskOf(names))
      object.load(PROGRAMS)
      const faults = new RouterFaults(object, ns, interfaces)
      for (const item of interfaces) faults.#hook(names, item)
      return faults
    } catch (error) {
      object.close()
      throw error
    }
  }

  #hook(names: readonly string[], { index, detours = {}, isThird }: FaultyInterface): void {
    const detour = DETOUR_FAULTS.filter(name => names.includes(name)).map(name => detours[name])[0]
    if (detour !== undefined) update(this.#object.mapFd('detours'), u32Key(index), u32Key(detour))
    if (isThird) update(this.#object.mapFd('thirds'), u32Key(index), u32Key(1))
    inNetns(this.#ns, () => {
      attachTc(index, this.#object.programFd('router_ingress'), 'ingress', PRIORITY)
      attachTc(index, this.#object.programFd('router_egress'), 'egress', PRIORITY)
    })
  }

  close(): void {
    inNetns(this.#ns, () => {
      for (const { index } of this.#interfaces) {
        detachTcProgram(index, 'ingress', PRIORITY)
        detachTcProgram(index, 'egress', PRIORITY)
      }
    })
    this.#object.close()
  }
}

function maskOf(names: readonly string[]): bigint {
  return ROUTER_FAULTS.reduce((bits, { name }, i) => (names.includes(name) ? bits | (1n << BigInt(i)) : bits), 0n)
}
