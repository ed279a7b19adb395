/** How the octets of a field are to be read. `ntp` is 32 bits of seconds since 1900 and 32 of fraction (RFC 7011 §6.1.9). */
export type FlowType =
  | 'unsigned'
  | 'signed'
  | 'float'
  | 'boolean'
  | 'ipv4'
  | 'ipv6'
  | 'mac'
  | 'text'
  | 'octets'
  | 'uptimeMs'
  | 'seconds'
  | 'milliseconds'
  | 'ntp'

type Row = readonly [id: number, lengthBytes: number, type: FlowType]

/** In a template: the length stands before each value (RFC 7011 §7). */
export const VARIABLE_LENGTH = 0xffff

const v = VARIABLE_LENGTH

/**
 * Field Types of RFC 3954 §8 under IANA's names, which IPFIX took over (RFC 7012), and those that exporters here send. The length is
 * the usual one: exporters may send fewer octets of a number (RFC 7011 §6.2).
 */
const TABLE = {
  octetDeltaCount: [1, 8, 'unsigned'],
  packetDeltaCount: [2, 8, 'unsigned'],
  deltaFlowCount: [3, 8, 'unsigned'],
  protocolIdentifier: [4, 1, 'unsigned'],
  ipClassOfService: [5, 1, 'unsigned'],
  tcpControlBits: [6, 2, 'unsigned'],
  sourceTransportPort: [7, 2, 'unsigned'],
  sourceIPv4Address: [8, 4, 'ipv4'],
  sourceIPv4PrefixLength: [9, 1, 'unsigned'],
  ingressInterface: [10, 4, 'unsigned'],
  destinationTransportPort: [11, 2, 'unsigned'],
  destinationIPv4Address: [12, 4, 'ipv4'],
  destinationIPv4PrefixLength: [13, 1, 'unsigned'],
  egressInterface: [14, 4, 'unsigned'],
  ipNextHopIPv4Address: [15, 4, 'ipv4'],
  bgpSourceAsNumber: [16, 4, 'unsigned'],
  bgpDestinationAsNumber: [17, 4, 'unsigned'],
  bgpNextHopIPv4Address: [18, 4, 'ipv4'],
  postMCastPacketDeltaCount: [19, 8, 'unsigned'],
  postMCastOctetDeltaCount: [20, 8, 'unsigned'],
  flowEndSysUpTime: [21, 4, 'uptimeMs'],
  flowStartSysUpTime: [22, 4, 'uptimeMs'],
  postOctetDeltaCount: [23, 8, 'unsigned'],
  postPacketDeltaCount: [24, 8, 'unsigned'],
  minimumIpTotalLength: [25, 8, 'unsigned'],
  maximumIpTotalLength: [26, 8, 'unsigned'],
  sourceIPv6Address: [27, 16, 'ipv6'],
  destinationIPv6Address: [28, 16, 'ipv6'],
  sourceIPv6PrefixLength: [29, 1, 'unsigned'],
  destinationIPv6PrefixLength: [30, 1, 'unsigned'],
  flowLabelIPv6: [31, 4, 'unsigned'],
  icmpTypeCodeIPv4: [32, 2, 'unsigned'],
  igmpType: [33, 1, 'unsigned'],
  samplingInterval: [34, 4, 'unsigned'],
  samplingAlgorithm: [35, 1, 'unsigned'],
  flowActiveTimeout: [36, 2, 'unsigned'],
  flowIdleTimeout: [37, 2, 'unsigned'],
  engineType: [38, 1, 'unsigned'],
  engineId: [39, 1, 'unsigned'],
  exportedOctetTotalCount: [40, 8, 'unsigned'],
  exportedMessageTotalCount: [41, 8, 'unsigned'],
  exportedFlowRecordTotalCount: [42, 8, 'unsigned'],
  sourceIPv4Prefix: [44, 4, 'ipv4'],
  destinationIPv4Prefix: [45, 4, 'ipv4'],
  mplsTopLabelType: [46, 1, 'unsigned'],
  mplsTopLabelIPv4Address: [47, 4, 'ipv4'],
  samplerId: [48, 1, 'unsigned'],
  samplerMode: [49, 1, 'unsigned'],
  samplerRandomInterval: [50, 4, 'unsigned'],
  minimumTTL: [52, 1, 'unsigned'],
  maximumTTL: [53, 1, 'unsigned'],
  fragmentIdentification: [54, 4, 'unsigned'],
  postIpClassOfService: [55, 1, 'unsigned'],
  sourceMacAddress: [56, 6, 'mac'],
  postDestinationMacAddress: [57, 6, 'mac'],
  vlanId: [58, 2, 'unsigned'],
  postVlanId: [59, 2, 'unsigned'],
  ipVersion: [60, 1, 'unsigned'],
  flowDirection: [61, 1, 'unsigned'],
  ipNextHopIPv6Address: [62, 16, 'ipv6'],
  bgpNextHopIPv6Address: [63, 16, 'ipv6'],
  ipv6ExtensionHeaders: [64, 4, 'unsigned'],
  mplsTopLabelStackSection: [70, 3, 'octets'],
  destinationMacAddress: [80, 6, 'mac'],
  postSourceMacAddress: [81, 6, 'mac'],
  interfaceName: [82, v, 'text'],
  interfaceDescription: [83, v, 'text'],
  samplerName: [84, v, 'text'],
  octetTotalCount: [85, 8, 'unsigned'],
  packetTotalCount: [86, 8, 'unsigned'],
  flagsAndSamplerId: [87, 4, 'unsigned'],
  fragmentOffset: [88, 2, 'unsigned'],
  forwardingStatus: [89, 4, 'unsigned'],
  applicationDescription: [94, v, 'text'],
  applicationId: [95, v, 'octets'],
  applicationName: [96, v, 'text'],
  postIpDiffServCodePoint: [98, 1, 'unsigned'],
  multicastReplicationFactor: [99, 4, 'unsigned'],
  exporterIPv4Address: [130, 4, 'ipv4'],
  exporterIPv6Address: [131, 16, 'ipv6'],
  droppedOctetDeltaCount: [132, 8, 'unsigned'],
  droppedPacketDeltaCount: [133, 8, 'unsigned'],
  flowEndReason: [136, 1, 'unsigned'],
  observationPointId: [138, 8, 'unsigned'],
  icmpTypeCodeIPv6: [139, 2, 'unsigned'],
  lineCardId: [141, 4, 'unsigned'],
  portId: [142, 4, 'unsigned'],
  meteringProcessId: [143, 4, 'unsigned'],
  exportingProcessId: [144, 4, 'unsigned'],
  templateId: [145, 2, 'unsigned'],
  flowId: [148, 8, 'unsigned'],
  observationDomainId: [149, 4, 'unsigned'],
  flowStartSeconds: [150, 4, 'seconds'],
  flowEndSeconds: [151, 4, 'seconds'],
  flowStartMilliseconds: [152, 8, 'milliseconds'],
  flowEndMilliseconds: [153, 8, 'milliseconds'],
  flowStartMicroseconds: [154, 8, 'ntp'],
  flowEndMicroseconds: [155, 8, 'ntp'],
  flowStartNanoseconds: [156, 8, 'ntp'],
  flowEndNanoseconds: [157, 8, 'ntp'],
  flowStartDeltaMicroseconds: [158, 4, 'unsigned'],
  flowEndDeltaMicroseconds: [159, 4, 'unsigned'],
  systemInitTimeMilliseconds: [160, 8, 'milliseconds'],
  flowDurationMilliseconds: [161, 4, 'unsigned'],
  flowDurationMicroseconds: [162, 4, 'unsigned'],
  observedFlowTotalCount: [163, 8, 'unsigned'],
  ignoredPacketTotalCount: [164, 8, 'unsigned'],
  ignoredOctetTotalCount: [165, 8, 'unsigned'],
  notSentFlowTotalCount: [166, 8, 'unsigned'],
  notSentPacketTotalCount: [167, 8, 'unsigned'],
  notSentOctetTotalCount: [168, 8, 'unsigned'],
  postOctetTotalCount: [171, 8, 'unsigned'],
  postPacketTotalCount: [172, 8, 'unsigned'],
  postMCastPacketTotalCount: [174, 8, 'unsigned'],
  postMCastOctetTotalCount: [175, 8, 'unsigned'],
  icmpTypeIPv4: [176, 1, 'unsigned'],
  icmpCodeIPv4: [177, 1, 'unsigned'],
  icmpTypeIPv6: [178, 1, 'unsigned'],
  icmpCodeIPv6: [179, 1, 'unsigned'],
  udpSourcePort: [180, 2, 'unsigned'],
  udpDestinationPort: [181, 2, 'unsigned'],
  tcpSourcePort: [182, 2, 'unsigned'],
  tcpDestinationPort: [183, 2, 'unsigned'],
  ipTTL: [192, 1, 'unsigned'],
  ipDiffServCodePoint: [195, 1, 'unsigned'],
  ipPrecedence: [196, 1, 'unsigned'],
  fragmentFlags: [197, 1, 'unsigned'],
  octetDeltaSumOfSquares: [198, 8, 'unsigned'],
  octetTotalSumOfSquares: [199, 8, 'unsigned'],
  isMulticast: [206, 1, 'unsigned'],
  ipv4IHL: [207, 1, 'unsigned'],
  paddingOctets: [210, v, 'octets'],
  collectorIPv4Address: [211, 4, 'ipv4'],
  collectorIPv6Address: [212, 16, 'ipv6'],
  exportInterface: [213, 4, 'unsigned'],
  exportProtocolVersion: [214, 1, 'unsigned'],
  exportTransportProtocol: [215, 1, 'unsigned'],
  collectorTransportPort: [216, 2, 'unsigned'],
  exporterTransportPort: [217, 2, 'unsigned'],
  tcpSynTotalCount: [218, 8, 'unsigned'],
  tcpFinTotalCount: [219, 8, 'unsigned'],
  tcpRstTotalCount: [220, 8, 'unsigned'],
  tcpPshTotalCount: [221, 8, 'unsigned'],
  tcpAckTotalCount: [222, 8, 'unsigned'],
  tcpUrgTotalCount: [223, 8, 'unsigned'],
  ipTotalLength: [224, 8, 'unsigned'],
  biflowDirection: [239, 1, 'unsigned'],
  ethernetHeaderLength: [240, 1, 'unsigned'],
  dot1qVlanId: [243, 2, 'unsigned'],
  dot1qPriority: [244, 1, 'unsigned'],
  ingressPhysicalInterface: [252, 4, 'unsigned'],
  egressPhysicalInterface: [253, 4, 'unsigned'],
  ethernetType: [256, 2, 'unsigned'],
  selectorId: [302, 8, 'unsigned'],
  selectorAlgorithm: [304, 2, 'unsigned'],
  samplingPacketInterval: [305, 4, 'unsigned'],
  samplingPacketSpace: [306, 4, 'unsigned'],
  samplingProbability: [311, 8, 'float'],
  ingressMulticastPacketTotalCount: [355, 8, 'unsigned'],
  ingressInterfaceType: [368, 4, 'unsigned'],
  egressInterfaceType: [369, 4, 'unsigned'],
} as const satisfies Record<string, Row>

export type FlowFieldName = keyof typeof TABLE

/** A field as the table describes it. */
export interface FlowFieldDefinition {
  readonly name: string
  readonly id: number
  readonly lengthBytes: number
  readonly type: FlowType
}

export const FLOW_FIELD_NAMES = Object.keys(TABLE) as FlowFieldName[]

/** IANA's number of each field: `FLOW_FIELD.isMulticast` is 206. */
export const FLOW_FIELD = Object.fromEntries(FLOW_FIELD_NAMES.map(name => [name, TABLE[name][0]])) as {
  readonly [Name in FlowFieldName]: (typeof TABLE)[Name][0]
}

const BY_ID = new Map<number, FlowFieldDefinition>(
  FLOW_FIELD_NAMES.map(name => {
    const [id, lengthBytes, type] = TABLE[name] as Row
    return [id, { name, id, lengthBytes, type }]
  }),
)

export function flowFieldByName(name: FlowFieldName): FlowFieldDefinition {
  return BY_ID.get(TABLE[name][0]) as FlowFieldDefinition
}

/** Stands where an enterprise number would: the scopes of NetFlow v9 have numbers of their own. */
export const V9_SCOPE = -1

/** RFC 3954 §6.1. */
export const V9_SCOPES: readonly string[] = ['', 'system', 'interface', 'lineCard', 'cache', 'template']

/** What a field is called: IANA's name, else its number, after the enterprise's where there is one. */
export function flowFieldName(id: number, enterprise: number): string {
  if (enterprise === V9_SCOPE) return V9_SCOPES[id] || `scope ${id}`
  if (enterprise !== 0) return `${enterprise}/${id}`
  return BY_ID.get(id)?.name ?? String(id)
}

/** An unknown field is read as octets: nothing is guessed about it. */
export function flowFieldType(id: number, enterprise: number): FlowType {
  if (enterprise === V9_SCOPE) return 'unsigned'
  return (enterprise === 0 && BY_ID.get(id)?.type) || 'octets'
}

/** Flow direction, field 61 (RFC 3954 §8). */
export const FLOW_DIRECTION = { INGRESS: 0, EGRESS: 1 } as const

/** Field 206 for a packet to 224.0.0.0/4: the MCv4 flag of IANA's figure. */
export const IS_MULTICAST_V4 = 0x01
