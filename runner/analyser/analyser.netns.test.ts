import * as assert from 'uvu/assert'
import { flowTemplate } from '../../generators/wire/flow-template.ts'
import { buildNetflow9 } from '../../generators/wire/netflow9.ts'
import { skipUnsupported } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import type { InputClaim } from './analyser.ts'
import { ANALYSERS, type AnalyserName, askAnalyser } from './ask-analyser.ts'

const test = suite('collectors on the threefold overcount', { timeoutMs: 120_000 })

const template = flowTemplate(256, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...(['protocolIdentifier', 'ipClassOfService', 'ingressInterface', 'egressInterface', 'isMulticast'] as const),
  ...(['flowDirection', 'multicastReplicationFactor', 'octetDeltaCount', 'packetDeltaCount'] as const),
  ...(['postMCastOctetDeltaCount', 'postMCastPacketDeltaCount', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
])
const [GI1, OUTPUTS, PACKETS, BYTES] = [415, [418, 422, 426], 4000, 1372]
const base = {
  ...{ sourceIPv4Address: '192.168.1.1', destinationIPv4Address: '239.0.0.2', sourceTransportPort: 50000 },
  ...{ destinationTransportPort: 5004, protocolIdentifier: 17, isMulticast: 1, ingressInterface: GI1 },
  ...{ flowStartSysUpTime: 1000, flowEndSysUpTime: 9000 },
}
const counted = (packets: number) => ({ packetDeltaCount: packets, octetDeltaCount: packets * BYTES })
const copies = { postMCastPacketDeltaCount: 3 * PACKETS, postMCastOctetDeltaCount: 3 * PACKETS * BYTES }
const ingress = { ...base, ...counted(PACKETS), ...copies, flowDirection: 0, multicastReplicationFactor: 3 }
const egress = OUTPUTS.map(egressInterface => ({ ...base, ...counted(PACKETS), egressInterface, flowDirection: 1 }))

function messages(...records: object[]): Uint8Array[] {
  const header = { sysUpTimeMs: 10_000, unixSeconds: Math.floor(Date.now() / 1000), sourceId: 0 }
  const data = records.map((record, i) =>
    buildNetflow9({ ...header, sequence: i + 1, flowSets: [{ data: { template, records: [{ ...record }] } }] }),
  )
  return [buildNetflow9({ ...header, sequence: 0, flowSets: [{ templates: [template] }] }), ...data]
}

const claims = (list: readonly InputClaim[]) => list.map(({ input, packets, bytes }) => [input, packets, bytes])
const of = (packets: number) => (packets === 0 ? [] : [[GI1, BigInt(packets), BigInt(packets * BYTES)]])

const SITUATIONS: [string, object[], all: number, ingress: number, egress: number][] = [
  ['ingress only: right', [ingress], 4000, 4000, 0],
  ['egress only: three times what came in', egress, 12000, 0, 12000],
  ['both: four times what came in, unless asked for ingress records', [ingress, ...egress], 16000, 4000, 12000],
]

for (const name of Object.keys(ANALYSERS) as AnalyserName[]) {
  for (const [what, records, all, ingressOnly, egressOnly] of SITUATIONS) {
    test(`${name}, ${what}`, async () => {
      const report = await askAnalyser(name, messages(...records)).catch(skipUnsupported(name))
      if (!report) return
      assert.equal(claims(report.all), of(all))
      assert.equal([claims(report.ingressOnly), claims(report.egressOnly)], [of(ingressOnly), of(egressOnly)])
      assert.equal([report.analyser, report.dropped], [name, 0])
      assert.match(report.version, /^\d+\.\d+/)
    })
  }

  test(`${name} takes more than its buffer holds, and loses nothing`, async () => {
    const report = await askAnalyser(name, messages(...new Array(2000).fill(ingress))).catch(skipUnsupported(name))
    if (!report) return
    assert.equal([claims(report.all), report.dropped], [of(2000 * PACKETS), 0])
  })
}

test.run()
