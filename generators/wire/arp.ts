import { header, u8, u16, u32, u48 } from './field.ts'

/** ARP for IPv4 over Ethernet (RFC 826, packet format). */
export const arp = header('arp', 28, {
  hardwareType: u16(0),
  protocolType: u16(2),
  hardwareLength: u8(4),
  protocolLength: u8(5),
  operation: u16(6),
  senderMac: u48(8),
  senderIp: u32(14),
  targetMac: u48(18),
  targetIp: u32(24),
})

export const ARP_OPERATION = { REQUEST: 1, REPLY: 2 } as const

/** The four fields that say "IPv4 over Ethernet". */
export const ARP_IPV4_OVER_ETHERNET = {
  hardwareType: 1,
  protocolType: 0x0800,
  hardwareLength: 6,
  protocolLength: 4,
} as const
