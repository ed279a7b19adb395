import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import type { Difference as WireDifference } from '../../generators/wire/field.ts'
import type { Difference } from '../../reports/result.ts'

const MAC_FIELDS = /(^|\.)(ethernet\.(dst|src)|arp\.(senderMac|targetMac))$/
const ADDRESS_FIELDS = /(^|\.)(ipv4\.(dst|src)|arp\.(senderIp|targetIp)|igmp\.group|.*multicastAddress)$/

/** A wire difference as people read it: addresses as addresses, numbers in decimal and hex. */
export function readable(difference: WireDifference): Difference {
  const { field, expected, actual } = difference
  return { field, expected: fieldText(field, expected), seen: fieldText(field, actual) }
}

export function fieldText(field: string, value: number | string): string {
  if (typeof value === 'string') return value.length <= 96 ? value : `${value.slice(0, 93)}...`
  if (MAC_FIELDS.test(field)) return formatMac(value)
  if (ADDRESS_FIELDS.test(field)) return formatIpv4(value)
  return value < 10 ? String(value) : `${value} (0x${value.toString(16)})`
}

export function differenceText(difference: Difference): string {
  return `${difference.field}: expected ${difference.expected}, saw ${difference.seen}`
}
