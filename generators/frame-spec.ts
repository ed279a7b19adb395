/**
 * A frame as partial layers. When building: a field left out gets the right value, a field given is sent as given,
 * however wrong. When matching: a field left out is not looked at. Addresses are numbers (IPv4 u32, MAC u48).
 */
export interface EthernetFields {
  dst?: number
  src?: number
  etherType?: number
}

export interface VlanFields {
  pcp?: number
  dei?: number
  vid?: number
  etherType?: number
}

export interface ArpFields {
  operation?: number
  senderMac?: number
  senderIp?: number
  targetMac?: number
  targetIp?: number
}

export interface Ipv4Fields {
  version?: number
  /** Header length in 32-bit words; left out: 5 plus the options. */
  ihl?: number
  tos?: number
  totalLength?: number
  id?: number
  /** Three bits: 4 reserved, 2 DF, 1 MF. */
  flags?: number
  /** In units of 8 bytes (RFC 791 §3.1). */
  fragmentOffset?: number
  ttl?: number
  protocol?: number
  checksum?: number
  src?: number
  dst?: number
  /** Raw option bytes as hex; padded to 32 bits with End of Options. `94040000` is Router Alert (RFC 2113). */
  options?: string
}

export interface UdpFields {
  srcPort?: number
  dstPort?: number
  length?: number
  checksum?: number
  /** XORed into the right checksum: 1 makes it wrong, 0 makes it right where it would be left out, as in a tunnel's outer header. */
  checksumXor?: number
}

/** RFC 3376 §4.2.4 Group Record; a field given wins over the one counted from the lists. */
export interface GroupRecordFields {
  recordType: number
  auxDataLen?: number
  numberOfSources?: number
  multicastAddress: number
  sources?: number[]
  /** Hex. */
  auxData?: string
}

export interface IgmpFields {
  type?: number
  /** v1/v2 and queries: the Max Resp Code octet. */
  maxRespCode?: number
  checksum?: number
  group?: number
  /** RFC 3376 §4.1 Query fields; giving any of them makes a v3 Query. */
  resv?: number
  sFlag?: number
  qrv?: number
  qqic?: number
  numberOfSources?: number
  sources?: number[]
  /** RFC 3376 §4.2 Report. */
  reserved1?: number
  reserved2?: number
  numberOfGroupRecords?: number
  records?: GroupRecordFields[]
  /** Hex, after the message; counted in the checksum unless `checksumLengthBytes` says otherwise. */
  trailing?: string
  /** How many octets the checksum covers; left out: all. */
  checksumLengthBytes?: number
  /** XORed into the right checksum: 1 makes it wrong. */
  checksumXor?: number
}

export interface VxlanFields {
  flags?: number
  reserved1?: number
  vni?: number
  reserved2?: number
}

/** RFC 4303 §2. IV, ciphertext and ICV are the frame's `payload`, as they are: frames are built without keys. */
export interface EspFields {
  spi?: number
  sequence?: number
}

/** One frame. At most one of `arp`, `udp`, `igmp`, `esp`, `vxlan` (with `inner`), `payload` decides what the bytes carry. */
export interface FrameSpec {
  ethernet?: EthernetFields
  vlan?: VlanFields[]
  arp?: ArpFields
  ipv4?: Ipv4Fields
  udp?: UdpFields
  igmp?: IgmpFields
  esp?: EspFields
  vxlan?: VxlanFields
  inner?: FrameSpec
  /** Hex, after the last header. */
  payload?: string
}
