/** Dotted quad to u32; RangeError on anything else, also on leading zeros, which some read as octal. */
export function parseIpv4(text: string): number {
  const address = asIpv4(text)
  if (address === undefined) throw new RangeError(`not an IPv4 address: "${text}"`)
  return address
}

/** Undefined where `parseIpv4` throws: for text that a person wrote, and that others have to explain. */
export function asIpv4(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(isDecimalOctet)) return undefined
  return parts.reduce((address, part) => address * 256 + Number(part), 0)
}

function isDecimalOctet(part: string): boolean {
  return /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** Six pairs of hex digits, with colons or dashes, to a 48-bit number; RangeError on anything else. */
export function parseMac(text: string): number {
  const mac = asMac(text)
  if (mac === undefined) throw new RangeError(`not a MAC address: "${text}"`)
  return mac
}

export function asMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$|^[0-9a-f]{2}(-[0-9a-f]{2}){5}$/i.test(text)) return undefined
  return Number.parseInt(text.replace(/[:-]/g, ''), 16)
}

export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?=.)/g, '$&:')
}

export const BROADCAST_MAC = 0xffff_ffff_ffff

const GROUP_MAC_BASE = 0x0100_5e00_0000

/** 01:00:5e and the low 23 bits of the group, so 32 groups share one address (RFC 1112 §6.4). */
export function groupMac(group: number): number {
  return GROUP_MAC_BASE + (group & 0x7f_ffff)
}

/** 224.0.0.0/4 (RFC 1112 §4). */
export function isMulticast(address: number): boolean {
  return address >>> 28 === 0xe
}
