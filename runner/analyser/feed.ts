import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import { openUdpSocket } from '../../generators/linux/udp-socket.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { flowTemplate } from '../../generators/wire/flow-template.ts'
import { buildNetflow9 } from '../../generators/wire/netflow9.ts'

const LOOPBACK = parseIpv4('127.0.0.1')
/** Kept well below the smallest default receive buffer, 208 KiB of which the kernel counts headers as well. */
const MAX_QUEUED_BYTES = 32 << 10
const STALLED_MS = 15_000

/** Input interface of the records that are sent last, one a direction, from a Source ID of their own. */
export const FENCE_INPUT = 64_999
const FENCE_SOURCE_ID = 0x00fe_9ce0

/** What became of what was sent. */
export interface Feed {
  datagrams: number
  dropped: number
}

const fields = [
  'sourceIPv4Address',
  'destinationIPv4Address',
  'ingressInterface',
  'egressInterface',
  'protocolIdentifier',
] as const
const template = flowTemplate(300, [
  ...fields,
  'flowDirection',
  'packetDeltaCount',
  'octetDeltaCount',
  'flowStartSysUpTime',
  'flowEndSysUpTime',
])

function fence(): Uint8Array {
  const ends = { sourceIPv4Address: '192.0.2.1', destinationIPv4Address: '192.0.2.2', ingressInterface: FENCE_INPUT }
  const one = { ...ends, protocolIdentifier: 17, packetDeltaCount: 1, octetDeltaCount: 28 }
  const records = [0, 1].map(flowDirection => ({ ...one, flowDirection }))
  const unixSeconds = Math.floor(Date.now() / 1000)
  const header = { sysUpTimeMs: 1000, unixSeconds, sequence: 0, sourceId: FENCE_SOURCE_ID }
  return buildNetflow9({ ...header, flowSets: [{ templates: [template] }, { data: { template, records } }] })
}

/** Sends no faster than the collector reads, and its fence last. */
async function send(
  ns: Netns,
  port: number,
  datagrams: readonly Uint8Array[],
  trouble: () => string | undefined,
): Promise<Feed> {
  const socket = createSocket('udp4')
  await new Promise<void>(resolve =>
    socket.bind({ fd: openUdpSocket(LOOPBACK, 0, 1 << 16, ns), exclusive: true }, resolve),
  )
  try {
    for (const datagram of [...datagrams, fence()]) {
      await drained(ns, port, MAX_QUEUED_BYTES, trouble)
      await new Promise<void>((resolve, reject) =>
        socket.send(datagram, port, '127.0.0.1', error => (error ? reject(error) : resolve())),
      )
    }
    await drained(ns, port, 0, trouble)
    return { datagrams: datagrams.length, dropped: queueOf(ns, port)?.drops ?? 0 }
  } finally {
    await new Promise<void>(resolve => socket.close(() => resolve()))
  }
}

async function drained(ns: Netns, port: number, bytes: number, trouble: () => string | undefined): Promise<void> {
  const endMs = performance.now() + STALLED_MS
  for (;;) {
    const queue = queueOf(ns, port)
    if (queue && queue.bytes <= bytes) return
    const why = trouble() ?? (performance.now() > endMs ? `it read nothing for ${STALLED_MS} ms` : undefined)
    if (why !== undefined) throw new Error(`the collector does not read: ${why}`)
    await delay(5)
  }
}

/** The socket bound to a port of the namespace, as the kernel lists it; undefined when there is none. */
function queueOf(ns: Netns, port: number): { bytes: number; drops: number } | undefined {
  const rows = inNetns(ns, () => readFileSync('/proc/thread-self/net/udp', 'utf8'))
    .split('\n')
    .slice(1)
  const columns = rows.map(row => row.trim().split(/\s+/))
  const row = columns.find(([, local = '']) => Number.parseInt(local.split(':')[1] ?? '', 16) === port)
  if (!row) return undefined
  return { bytes: Number.parseInt(row[4]?.split(':')[1] ?? '0', 16), drops: Number(row.at(-1)) }
}

export const feed = { send, isBound: (ns: Netns, port: number) => queueOf(ns, port) !== undefined }
