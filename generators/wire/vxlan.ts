import { header, u8, u24 } from './field.ts'

/** VXLAN header, RFC 7348 §5. Reserved bits are sent as 0 and ignored on receipt. */
export const vxlan = header('vxlan', 8, { flags: u8(0), reserved1: u24(1), vni: u24(4), reserved2: u8(7) })

/** The I flag: the VNI is valid (RFC 7348 §5). */
export const VXLAN_FLAG_VNI = 0x08

/** IANA's port; Linux's own default is 8472. */
export const VXLAN_PORT = 4789
export const VXLAN_PORT_LINUX = 8472
