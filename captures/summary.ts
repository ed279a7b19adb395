import { formatIpv4, formatMac } from '../generators/wire/address.ts'
import { arp } from '../generators/wire/arp.ts'
import { ethernet, vlan } from '../generators/wire/ethernet.ts'
import { readU8, readU32 } from '../generators/wire/field.ts'
import {
  groupRecord,
  groupRecords,
  IGMP_TYPE,
  igmp,
  igmpChecksumOk,
  queryVersion,
  RECORD_TYPE,
  recordSource,
} from '../generators/wire/igmp.ts'
import { IPV4_FLAG, ipv4 } from '../generators/wire/ipv4.ts'
import { stampRun, stampSequence, stampStream } from '../generators/wire/stamp.ts'
import { udp } from '../generators/wire/udp.ts'
import { vxlan } from '../generators/wire/vxlan.ts'
import { Dissection, dissect, PROTOCOL } from './dissect.ts'

/** One line about a frame for people, outermost layer first, much as tcpdump says it. */
export function summary(bytes: Uint8Array, at = 0, end = bytes.length, originalLength = end - at): string {
  const layers = dissect(bytes, at, end, new Dissection(), originalLength)
  const parts: string[] = []
  for (let i = 0; i < layers.count; i++) {
    const text = layerText(bytes, layers, i)
    if (text) parts.push(text)
  }
  if (layers.malformed) parts.push(`malformed at ${layers.malformed.at}: ${layers.malformed.why}`)
  return parts.join(', ')
}

function layerText(bytes: Uint8Array, layers: Dissection, i: number): string {
  const at = layers.at(i)
  const end = layers.end(i)
  switch (layers.protocol(i)) {
    case PROTOCOL.ethernet:
      return ethernetText(bytes, at)
    case PROTOCOL.vlan:
      return `vlan ${vlan.fields.vid.get(bytes, at)}`
    case PROTOCOL.arp:
      return arpText(bytes, at)
    case PROTOCOL.ipv4:
      return ipv4Text(bytes, at)
    case PROTOCOL.udp:
      return `UDP ${udp.fields.srcPort.get(bytes, at)} > ${udp.fields.dstPort.get(bytes, at)}, length ${end - at - udp.length}`
    case PROTOCOL.vxlan:
      return `VXLAN, vni ${vxlan.fields.vni.get(bytes, at)}`
    case PROTOCOL.igmp:
      return igmpText(bytes, at, end) + (igmpChecksumOk(bytes, at, end) ? '' : ' (wrong checksum)')
    case PROTOCOL.stamp:
      return `stream ${stampStream(bytes, at)} sequence ${stampSequence(bytes, at)} (run ${stampRun(bytes, at).toString(16).padStart(6, '0')})`
    case PROTOCOL.esp:
      return `ESP, spi 0x${readU32(bytes, at).toString(16).padStart(8, '0')}, seq ${readU32(bytes, at + 4)}, length ${end - at}`
    case PROTOCOL.icmp:
      return `ICMP type ${readU8(bytes, at)} code ${readU8(bytes, at + 1)}`
    case PROTOCOL.tcp:
      return 'TCP'
    case PROTOCOL.ipv6:
      return 'IPv6'
    case PROTOCOL.fragment:
      return `${end - at} bytes`
    default:
      return ''
  }
}

function ethernetText(bytes: Uint8Array, at: number): string {
  const { src, dst, etherType } = ethernet.fields
  const type = etherType.get(bytes, at).toString(16).padStart(4, '0')
  return `${formatMac(src.get(bytes, at))} > ${formatMac(dst.get(bytes, at))} type 0x${type}`
}

function arpText(bytes: Uint8Array, at: number): string {
  const { operation, senderIp, targetIp, senderMac } = arp.fields
  const sender = formatIpv4(senderIp.get(bytes, at))
  if (operation.get(bytes, at) === 1) return `ARP who-has ${formatIpv4(targetIp.get(bytes, at))} tell ${sender}`
  return `ARP reply ${sender} is-at ${formatMac(senderMac.get(bytes, at))}`
}

function ipv4Text(bytes: Uint8Array, at: number): string {
  const { src, dst, ttl, id, fragmentOffset, flags, protocol } = ipv4.fields
  const offset = fragmentOffset.get(bytes, at) * 8
  const more = (flags.get(bytes, at) & IPV4_FLAG.MF) !== 0
  const fragment = more || offset > 0 ? ` id ${id.get(bytes, at)} fragment at ${offset}${more ? '+' : ''}` : ''
  const route = `${formatIpv4(src.get(bytes, at))} > ${formatIpv4(dst.get(bytes, at))}`
  return `IP ${route} ttl ${ttl.get(bytes, at)} proto ${protocol.get(bytes, at)}${fragment}`
}

function igmpText(bytes: Uint8Array, at: number, end: number): string {
  const type = igmp.fields.type.get(bytes, at)
  const group = formatIpv4(igmp.fields.group.get(bytes, at))
  switch (type) {
    case IGMP_TYPE.MEMBERSHIP_QUERY:
      return `IGMPv${queryVersion(bytes, at, end) ?? '?'} query ${group}`
    case IGMP_TYPE.V1_MEMBERSHIP_REPORT:
      return `IGMPv1 report ${group}`
    case IGMP_TYPE.V2_MEMBERSHIP_REPORT:
      return `IGMPv2 report ${group}`
    case IGMP_TYPE.V2_LEAVE_GROUP:
      return `IGMPv2 leave ${group}`
    case IGMP_TYPE.V3_MEMBERSHIP_REPORT:
      return `IGMPv3 report${recordsText(bytes, at, end)}`
    default:
      return `IGMP type 0x${type.toString(16)}`
  }
}

const RECORDS_SHOWN = 3
const RECORD_NAMES = new Map<number, string>(Object.entries(RECORD_TYPE).map(([name, type]) => [type, name]))

function recordsText(bytes: Uint8Array, at: number, end: number): string {
  const walk = groupRecords(bytes, at, end)
  let text = ''
  let count = 0
  while (walk.next()) if (++count <= RECORDS_SHOWN) text += ` [${recordText(bytes, walk.at)}]`
  if (count > RECORDS_SHOWN) text += ` and ${count - RECORDS_SHOWN} records more`
  return walk.malformed ? `${text} (${walk.malformed.why})` : text
}

function recordText(bytes: Uint8Array, at: number): string {
  const { recordType, multicastAddress, numberOfSources } = groupRecord.fields
  const type = recordType.get(bytes, at)
  const sources = Array.from({ length: Math.min(numberOfSources.get(bytes, at), RECORDS_SHOWN) }, (_, i) =>
    formatIpv4(recordSource(bytes, at, i)),
  )
  const more = numberOfSources.get(bytes, at) > RECORDS_SHOWN ? ', …' : ''
  return `${RECORD_NAMES.get(type) ?? type} ${formatIpv4(multicastAddress.get(bytes, at))} {${sources.join(', ')}${more}}`
}
