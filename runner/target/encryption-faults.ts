import type { Pick } from '../../bpf/encryption-faults.ts'
import type { Fault } from '../../bpf/faults.ts'

const fault = (requirements: string[], description: string) => ({ requirements, description })

/** Ways for encryption to be wrong: states and policies set up otherwise, or packets that go around them. */
const WRONGS = {
  'one-in-a-thousand-in-clear': fault(['X01'], 'each thousandth tunnel packet of a node leaves in clear'),
  'first-packet-in-clear': fault(['X22'], 'the first tunnel packet to each address leaves in clear'),
  'later-fragments-in-clear': fault(['X12'], 'fragments of a datagram after its first leave in clear'),
  'nested-in-clear': fault(['X01'], 'what is a tunnel packet already, before it goes into one, leaves in clear'),
  'igmp-in-clear': fault(['X05'], 'IGMP of a pod leaves its node in a tunnel packet in clear'),
  'full-size-in-clear': fault(['X12'], 'tunnel packets with more than 1400 octets leave in clear'),
  'only-first-copy-encrypted': fault(['X23'], 'copies for the last node leave in clear'),
  'pod-unicast-in-clear': fault(['X16', 'X20'], 'unicast between pods goes into the overlay as it is'),
  'sent-twice': fault(['X02'], 'each 257th ESP packet is on the wire twice, with one sequence number'),
  'sequence-restarts': fault(['X02', 'X21'], 'an agent that restarts makes its states anew, with the same keys'),
  'global-key': fault(['X06'], 'the first and the last node use the secret itself between them'),
  'one-key-both-ways': fault(['X06'], 'the directions of a pair of nodes share a key'),
  'boot-id-ignored': fault(['X21'], 'keys stay the same over a reboot'),
  'integrity-off': fault(['X08'], 'AES-CBC without integrity between the first and the last node'),
  'short-icv': fault(['X06'], 'the ICV has 64 bits, not 128, between the first and the last node'),
  'wrong-spi': fault(['X07'], 'states between the first and the last node have another SPI than the secret says'),
  'old-key-sent': fault(['X24'], 'a rotation installs the new key, and the old one is used on'),
  'old-key-kept': fault(['X24'], 'after a rotation the old key still opens'),
  'new-key-sent-too-early': fault(['X15', 'X18'], 'a rotation sends with a key that the others have not got for 50 ms'),
  'old-key-gone-too-early': fault(
    ['X15'],
    'a rotation removes the old key 50 ms before anybody sends with the new one',
  ),
  'rotation-in-clear': fault(['X04'], 'a rotation takes every policy away for 50 ms'),
  'restart-in-clear': fault(['X21'], 'an agent that restarts takes every policy away for 50 ms'),
  'on-too-late': fault(['X17'], 'encryption is reported on 50 ms before it is'),
  'window-off': fault(['X03', 'X10'], 'the anti-replay window is off'),
  'window-of-32': fault(['X10'], 'the anti-replay window has 32 packets'),
  'window-of-4096': fault(['X10'], 'the anti-replay window has 4096 packets'),
  'clear-without-state': fault(['X09'], 'what has no state leaves in clear'),
  'clear-without-policy': fault(['X09'], 'what has no policy leaves in clear'),
  'clear-accepted': fault(['X14'], 'tunnel packets in clear are accepted'),
  'clear-to-node-without-keys': fault(['X14'], 'a node without keys gets its copies in clear'),
  'state-nobody-asked-for': fault(['X19'], 'there is a state for an SPI that is in no secret'),
  'esn-off': fault(['X11'], 'sequence numbers have 32 bits'),
  'sequence-cycles': fault(['X11'], 'sequence numbers of 32 bits start again after the last'),
} as const

export type EncryptionFault = keyof typeof WRONGS

export const ENCRYPTION_FAULTS: readonly Fault[] = Object.entries(WRONGS).map(([name, about]) => ({
  name,
  place: 'encryption',
  ...about,
}))

/** Faults that choose packets to leave in clear. */
const PICKS: Partial<Record<EncryptionFault, Pick>> = {
  'one-in-a-thousand-in-clear': 'every-1000th',
  'first-packet-in-clear': 'first-of-group',
  'later-fragments-in-clear': 'later-fragments',
  'igmp-in-clear': 'igmp',
  'full-size-in-clear': 'full-size',
  'only-first-copy-encrypted': 'one-node',
  'nested-in-clear': 'nested',
}

/** The faults of encryption among those that a site has. */
export class Wrongs {
  private readonly names: ReadonlySet<string>

  constructor(names: readonly string[]) {
    this.names = new Set(names)
  }

  has(...names: readonly EncryptionFault[]): boolean {
    return names.some(name => this.names.has(name))
  }

  get pick(): Pick {
    const name = (Object.keys(PICKS) as EncryptionFault[]).find(each => this.names.has(each))
    return (name && PICKS[name]) ?? 'none'
  }

  /** Of the datapath, which has no encryption of its own: IGMP has to get into the overlay first. */
  static ofDatapath(names: readonly string[]): string[] {
    const own = names.filter(name => !(name in WRONGS))
    return names.includes('igmp-in-clear') ? [...own, 'igmp-forwarded-to-overlay'] : own
  }
}
