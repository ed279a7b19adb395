import { attachTc, BpfObject } from '../generators/linux/libbpf.ts'
import { inNetns, type Netns } from '../generators/linux/netns.ts'
import { objectPath } from './object-path.ts'

/** enum pick of encryption-faults.bpf.c: which packets leave in clear. */
const PICKS = [
  'none',
  'every-1000th',
  'first-of-group',
  'later-fragments',
  'igmp',
  'full-size',
  'one-node',
  'nested',
] as const
export type Pick = (typeof PICKS)[number]

/** What a node's packets around XFRM carry: for a policy that lets them pass. */
export const MARK_CLEAR = 0xc1ea

/** A node whose encryption goes wrong where no state or policy could make it. */
export class EncryptionFaults {
  readonly #object: BpfObject

  private constructor(object: BpfObject) {
    this.#object = object
  }

  /** `node`: whose copies go in clear with pick `one-node`. */
  static load(pick: Pick, node: number): EncryptionFaults {
    const object = new BpfObject(objectPath('encryption-faults'))
    try {
      const config = object.section('.rodata.config')
      config.writeUInt32LE(PICKS.indexOf(pick), 0)
      config.writeUInt32LE(node, 4)
      object.load(['mark_clear', 'send_twice'])
      return new EncryptionFaults(object)
    } catch (error) {
      object.close()
      throw error
    }
  }

  /** On the egress side of cilium_vxlan; gone with what else is attached there. */
  markClear(ns: Netns, overlayIndex: number): void {
    inNetns(ns, () => attachTc(overlayIndex, this.#object.programFd('mark_clear'), 'egress'))
  }

  sendTwice(ns: Netns, uplinkIndex: number): void {
    inNetns(ns, () => attachTc(uplinkIndex, this.#object.programFd('send_twice'), 'egress'))
  }

  /** The programs stay attached until their interfaces are gone or detached. */
  close(): void {
    this.#object.close()
  }
}
