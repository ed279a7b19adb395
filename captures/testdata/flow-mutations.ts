import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../generators/random.ts'
import { flowTemplate, templateField } from '../../generators/wire/flow-template.ts'
import type { FlowSetSpec } from '../../generators/wire/flow-write.ts'
import { buildIpfix } from '../../generators/wire/ipfix.ts'
import { buildNetflow5 } from '../../generators/wire/netflow5.ts'
import { buildNetflow9 } from '../../generators/wire/netflow9.ts'
import { openCapture } from '../capture-file.ts'
import type { SessionMessage } from './flow-session.ts'

/** In [0, 1). */
type Random = () => number

const EXPORTS = fileURLToPath(new URL('exports', import.meta.url))
/** Ethernet, IPv4 without options, UDP. */
const HEADERS_BYTES = 14 + 20 + 8
const MESSAGES = 2000

const wide = flowTemplate(256, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'ingressInterface', 'egressInterface'] as const),
  ...(['isMulticast', 'flowDirection', 'octetDeltaCount', 'packetDeltaCount', 'postMCastPacketDeltaCount'] as const),
  ...(['multicastReplicationFactor', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
])
const six = flowTemplate(257, ['sourceIPv6Address', 'destinationIPv6Address', ['packetDeltaCount', 3], 'flowStartMicroseconds'])
const sampling = flowTemplate(258, [templateField(2, -1, 4), 'samplingInterval', ['interfaceName', 8]], 1)
const varied = flowTemplate(300, ['interfaceName', templateField(5, 32473, 0xffff), 'samplingProbability', 'sourceMacAddress'])
const scoped = flowTemplate(301, ['observationDomainId', 'systemInitTimeMilliseconds'], 1)

const record = { sourceIPv4Address: '192.168.1.1', destinationIPv4Address: '239.0.0.2', ingressInterface: 415, packetDeltaCount: 4000 }
const data = (template: typeof wide, count = 1): FlowSetSpec => ({ data: { template, records: new Array(count).fill(record) } })

/** Our own of every kind, and what real exporters sent. */
function corpus(): Uint8Array[] {
  const found = soundMessages()
  for (const file of readdirSync(EXPORTS).sort()) {
    const capture = openCapture(join(EXPORTS, file))
    capture.read(({ bytes, at, length }) => found.push(bytes.slice(at + HEADERS_BYTES, at + length)))
    capture.close()
  }
  return found
}

const sound = corpus()

/** The messages of a seed: mostly of three exporters, so that templates, sequences and restarts meet. */
export function* sessionMessages(seed: number): Generator<SessionMessage> {
  const random = seededRandom(seed)
  for (let n = 0; n < MESSAGES; n++) {
    const exporter = Math.floor(random() * (random() < 0.95 ? 3 : 100_000))
    const srcPort = Math.floor(random() * 3)
    yield { exporter, srcPort, receivedMs: 1_700_000_000_000 + n * 100, bytes: mutate(random) }
  }
}

function soundMessages(): Uint8Array[] {
  const nine = (sequence: number, flowSets: FlowSetSpec[]) => buildNetflow9({ sysUpTimeMs: 1000 * sequence, unixSeconds: 1_700_000_000 + sequence, sequence, sourceId: 1, flowSets })
  const ten = (sequence: number, sets: FlowSetSpec[]) => buildIpfix({ exportSeconds: 1_700_000_000, sequence, observationDomainId: 1, sets })
  const five = (count: number) => buildNetflow5({ sysUpTimeMs: 1000, unixSeconds: 1_700_000_000, flowSequence: 0, records: new Array(count).fill(record) })
  return [
    nine(0, [{ templates: [wide, six] }, { templates: [sampling] }]),
    nine(1, [data(wide, 4), data(six, 2), data(sampling)]),
    nine(2, [{ templates: [wide] }, data(wide)]),
    ten(0, [{ templates: [varied, wide] }, { templates: [scoped] }]),
    ten(0, [data(varied, 3), data(scoped), data(wide)]),
    ten(5, [{ withdraw: [300] }, { withdraw: [2] }, data(varied)]),
    five(1),
    five(30),
  ]
}

const TELLING = [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 20, 28, 255, 256, 257, 300, 0x7fff, 0x8000, 0xfffe, 0xffff]

/** A message spoiled in a few places: bits, words that matter, its length, parts of another. */
function mutate(random: Random): Uint8Array {
  const below = (n: number) => Math.floor(random() * n)
  const one = () => sound[below(sound.length)] as Uint8Array
  let bytes: Uint8Array = one().slice()
  for (let left = below(6); left > 0; left--) bytes = MUTATIONS[below(MUTATIONS.length)]?.(bytes, below, one()) ?? bytes
  return bytes.subarray(0, 65_507)
}

type Mutation = (bytes: Uint8Array, below: (n: number) => number, other: Uint8Array) => Uint8Array

const MUTATIONS: readonly Mutation[] = [
  (bytes, below) => withByte(bytes, below(bytes.length), below(256)),
  (bytes, below) => withWord(bytes, below(bytes.length) & ~1, TELLING[below(TELLING.length)] as number),
  (bytes, below) => withWord(bytes, below(bytes.length), TELLING[below(TELLING.length)] as number),
  (bytes, below) => withByte(bytes, below(bytes.length), 1 << below(8)),
  (bytes, below) => bytes.slice(0, below(bytes.length + 1)),
  (bytes, below, other) => joined(bytes.subarray(0, below(bytes.length + 1)), other.subarray(below(other.length))),
  (bytes, below) => {
    const at = below(bytes.length)
    return joined(bytes.subarray(0, at), bytes.subarray(at, at + below(200)), bytes.subarray(at))
  },
  (bytes, below) => joined(bytes, new Uint8Array(below(64))),
  (bytes, below) => (bytes.length < 2000 && below(50) === 0 ? joined(...new Array<Uint8Array>(below(40) + 1).fill(bytes)) : bytes),
]

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array {
  if (at < bytes.length) bytes[at] = value
  return bytes
}

function withWord(bytes: Uint8Array, at: number, value: number): Uint8Array {
  withByte(bytes, at, value >> 8)
  return withByte(bytes, at + 1, value & 0xff)
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
