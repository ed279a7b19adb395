import { bitsOfU16, header, u16, u48 } from './field.ts'

/** Ethernet II header, without preamble and FCS (IEEE 802.3 §3). */
export const ethernet = header('ethernet', 14, { dst: u48(0), src: u48(6), etherType: u16(12) })

/**
 * What an 802.1Q tag adds behind the EtherType 0x8100: the TCI, then the EtherType of what follows (IEEE 802.1Q §9.6).
 * `at` is the byte after the EtherType that announced it.
 */
export const vlan = header('vlan', 4, {
  pcp: bitsOfU16(0, 13, 3),
  dei: bitsOfU16(0, 12, 1),
  vid: bitsOfU16(0, 0, 12),
  etherType: u16(2),
})

export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd, QINQ: 0x88a8 } as const

/** 802.1Q and 802.1ad service tags have the same form. */
export function isVlanType(etherType: number): boolean {
  return etherType === ETHER_TYPE.VLAN || etherType === ETHER_TYPE.QINQ
}

/** Shortest frame on the wire without FCS (IEEE 802.3 §4A.4.2: 64 bytes with it). */
export const MIN_FRAME_BYTES = 60
