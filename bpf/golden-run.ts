import { buildFrame } from '../generators/frame.ts'
import type { FrameSpec, IgmpFields } from '../generators/frame-spec.ts'
import { formatIpv4, parseIpv4 } from '../generators/wire/address.ts'
import { Datapath, type DatapathOptions, type FrameProgram } from './datapath.ts'
import type { DropReason } from './maps.ts'

export const G = parseIpv4('233.252.0.1')
export const G2 = parseIpv4('233.252.0.2')
export const G3 = parseIpv4('233.252.0.3')
export const S1 = parseIpv4('192.0.2.1')
export const S2 = parseIpv4('192.0.2.2')
export const HOST = parseIpv4('192.0.2.10')

/** A datapath without interfaces, given frames by BPF_PROG_RUN as if they came in on the loopback device. */
export class GoldenRun {
  readonly datapath: Datapath

  constructor(options: Partial<DatapathOptions> = {}) {
    this.datapath = Datapath.load({ node: { name: 'n1', address: parseIpv4('10.224.0.4') }, vni: 2, ...options })
    for (const group of [G, G2, G3]) this.datapath.enableGroup(group)
  }

  run(spec: FrameSpec, program: FrameProgram = 'from_pod'): number {
    return this.datapath.run(program, buildFrame(spec, { ipv4: { src: HOST } })).verdict
  }

  igmp(igmp: IgmpFields, ipv4: FrameSpec['ipv4'] = {}): void {
    this.run({ igmp, ipv4: { src: HOST, ...ipv4 } })
  }

  /** IGMP octets as they are, in a packet to all IGMPv3 routers. */
  igmpHex(hex: string): void {
    this.run({ ipv4: { protocol: 2, ttl: 1, dst: parseIpv4('224.0.0.22') }, payload: hex })
  }

  /** Members as text: `233.252.0.1 exclude{192.0.2.1}`, one a host. */
  members(): string[] {
    return this.datapath.subscribers().flatMap(({ group, subscribers }) =>
      subscribers.flatMap(({ hosts }) =>
        hosts.map(({ host, mode, sources }) => {
          const whose = host === formatIpv4(HOST) ? '' : ` of ${host}`
          return `${group} ${mode}{${sources.join(',')}}${whose}`
        }),
      ),
    )
  }

  /** Reasons counted so far, those that are not 0. */
  drops(): Partial<Record<DropReason, number>> {
    return Object.fromEntries(Object.entries(this.datapath.drops()).filter(([, count]) => count > 0))
  }

  close(): void {
    this.datapath.close()
  }
}

/** One message and what it must leave behind. The octets are those of the vectors that other code computed. */
export interface GoldenCase {
  name: string
  hex: string
  /** A message sent before. */
  after?: string
  members: string[]
  drops: Partial<Record<DropReason, number>>
}

const ANY = ['233.252.0.1 exclude{}']
const TO_EX = '2200f0000000000104000000e9fc0001'

export const GOLDEN_CASES: readonly GoldenCase[] = [
  { name: 'V1 report', hex: '12000402e9fc0001', members: ANY, drops: {} },
  { name: 'V2 report', hex: '16000002e9fc0001', members: ANY, drops: {} },
  { name: 'V2 leave', hex: '1700ff01e9fc0001', after: '16000002e9fc0001', members: [], drops: {} },
  { name: 'V2 leave of a stranger', hex: '1700ff01e9fc0001', members: [], drops: {} },
  { name: 'V1 general query', hex: '1100eeff00000000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  { name: 'V2 general query', hex: '1164ee9b00000000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  { name: 'V2 group query', hex: '110a04f8e9fc0001', members: [], drops: { 'igmp-query-from-pod': 1 } },
  { name: 'V3 general query', hex: '1164ec1e00000000027d0000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  { name: 'V3 group query S=0', hex: '110a027be9fc0001027d0000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  { name: 'V3 group query S=1', hex: '110afa7ae9fc00010a7d0000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  {
    name: 'V3 group-and-source query',
    hex: '110a7e74e9fc0001027d0002c0000201c0000202',
    members: [],
    drops: { 'igmp-query-from-pod': 1 },
  },
  { name: 'V3 TO_EX{}', hex: TO_EX, members: ANY, drops: {} },
  { name: 'V3 TO_IN{}', hex: '2200f1000000000103000000e9fc0001', after: TO_EX, members: [], drops: {} },
  {
    name: 'V3 ALLOW{.1}',
    hex: '22002cfe0000000105000001e9fc0001c0000201',
    members: ['233.252.0.1 include{192.0.2.1}'],
    drops: {},
  },
  {
    name: 'V3 BLOCK{.1} of an EXCLUDE host',
    hex: '22002bfe0000000106000001e9fc0001c0000201',
    after: TO_EX,
    members: ['233.252.0.1 exclude{192.0.2.1}'],
    drops: {},
  },
  {
    name: 'V3 ALLOW{.1} + BLOCK{.2}',
    hex: '22007afb0000000205000001e9fc0001c000020106000001e9fc0001c0000202',
    members: ['233.252.0.1 include{192.0.2.1}'],
    drops: {},
  },
  {
    name: 'V3 unknown record type + TO_EX{}',
    hex: '2200fef90000000207000000e9fc000904000000e9fc0001',
    members: ANY,
    drops: { 'record-type-unknown': 1 },
  },
  { name: 'V3 IS_EX{} with auxiliary data', hex: '220054620000000102010000e9fc0001deadbeef', members: ANY, drops: {} },
  { name: 'V2 report, bad checksum', hex: '16000003e9fc0001', members: [], drops: { 'igmp-checksum': 1 } },
  { name: 'V2 report, 4 octets more', hex: '16008868e9fc0001aabbccdd', members: ANY, drops: {} },
  {
    name: 'V2 report, 4 octets more that the checksum leaves out',
    hex: '16000002e9fc0001aabbccdd',
    members: [],
    drops: { 'igmp-checksum': 1 },
  },
  { name: 'Query of 10 octets', hex: '110a04f8e9fc00010000', members: [], drops: { 'igmp-query-from-pod': 1 } },
  {
    name: 'V3 two records announced, one there',
    hex: '2200efff0000000204000000e9fc0001',
    members: [],
    drops: { 'igmp-malformed': 1 },
  },
  {
    name: 'V3 five sources announced, none there',
    hex: '2200effb0000000104000005e9fc0001',
    members: [],
    drops: { 'igmp-malformed': 1 },
  },
]

/** Runs one case on a datapath of its own; what differs, or nothing. */
export function goldenDifference(golden: GoldenCase): string | undefined {
  const run = new GoldenRun()
  try {
    if (golden.after) run.igmpHex(golden.after)
    run.igmpHex(golden.hex)
    const got = JSON.stringify({ members: run.members(), drops: run.drops() })
    const want = JSON.stringify({ members: golden.members, drops: golden.drops })
    return got === want ? undefined : `${golden.name}: ${got} instead of ${want}`
  } finally {
    run.close()
  }
}
