import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { FlowAccounts } from '../captures/flow-accounts.ts'
import { FlowDecoder } from '../captures/flow-decoder.ts'
import { readFlowFile } from '../captures/flow-file.ts'
import { FlowListener } from '../captures/flow-listener.ts'
import { readFlowRecord } from '../captures/flow-record.ts'
import { writeMessages } from '../captures/testdata/flow-oracle.ts'
import { createNetns, inNetns, type Netns } from '../generators/linux/netns.ts'
import { flowTemplate } from '../generators/wire/flow-template.ts'
import { buildNetflow9 } from '../generators/wire/netflow9.ts'
import { feed } from '../runner/analyser/feed.ts'
import { packaged } from '../runner/target/router/debian.ts'

/**
 * Our decoder against `tshark -T fields` on one capture, and as a collector against nfcapd, both fed over the loopback; the document's
 * record, 20 to a message. CPU time is compared: of collectors the sender sets the pace, and other work on the machine all the rest.
 */
const RECORDS_EACH = 20
const TSHARK_MESSAGES = 10_000
const FILE_MESSAGES = 50_000
const LIVE_MESSAGES = 50_000
const ROUNDS = 5
const PORT = 2055

const template = flowTemplate(256, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...(['protocolIdentifier', 'ipClassOfService', 'ingressInterface', 'egressInterface', 'isMulticast'] as const),
  ...(['flowDirection', 'multicastReplicationFactor', 'octetDeltaCount', 'packetDeltaCount'] as const),
  ...(['postMCastOctetDeltaCount', 'postMCastPacketDeltaCount', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
])

/** What we read of each record, in tshark's words. */
const TSHARK_FIELDS = [
  ...[
    'srcaddr',
    'dstaddr',
    'srcport',
    'dstport',
    'protocol',
    'tos',
    'inputint',
    'outputint',
    'is_multicast',
    'direction',
  ],
  ...['multicast_replication_factor', 'octets', 'packets', 'muloctets', 'mulpackets', 'timestart', 'timeend'],
]

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A thousand flows, a template every 20 messages. */
function message(i: number): Uint8Array {
  const records = Array.from({ length: RECORDS_EACH }, (_, k) => ({
    ...{
      sourceIPv4Address: '192.168.1.1',
      destinationIPv4Address: '239.0.0.2',
      sourceTransportPort: k + (i % 50) * RECORDS_EACH,
    },
    ...{
      destinationTransportPort: 5004,
      protocolIdentifier: 17,
      ingressInterface: 415,
      flowDirection: 0,
      isMulticast: 1,
    },
    ...{
      multicastReplicationFactor: 3,
      octetDeltaCount: 1372 * i,
      packetDeltaCount: i,
      postMCastOctetDeltaCount: 4116 * i,
    },
    ...{ postMCastPacketDeltaCount: 3 * i, flowStartSysUpTime: i, flowEndSysUpTime: i + 5 },
  }))
  const flowSets = [...(i % 20 === 0 ? [{ templates: [template] }] : []), { data: { template, records } }]
  return buildNetflow9({
    sysUpTimeMs: i * 10,
    unixSeconds: 1_700_000_000 + Math.floor(i / 100),
    sequence: i,
    sourceId: 1,
    flowSets,
  })
}

function file(directory: string, name: string, count: number): string {
  const path = join(directory, name)
  writeMessages(
    path,
    Array.from({ length: count }, (_, i) => message(i)),
  )
  return path
}

/** Records a second of CPU time, every one of them read whole; `accounts` adds them up by flow as well. */
function decodeRate(path: string, accounts?: FlowAccounts): number {
  let [records, packets] = [0, 0n]
  const before = process.cpuUsage()
  const record: ConstructorParameters<typeof FlowDecoder>[0]['record'] = (data, header) => {
    const flow = readFlowRecord(data, header)
    records++
    packets += flow.packets ?? 0n
    accounts?.add(flow)
  }
  readFlowFile(path, new FlowDecoder({ record, event: ({ why }) => say(`  event: ${why}`) }))
  const { user, system } = process.cpuUsage(before)
  if (records !== FILE_MESSAGES * RECORDS_EACH || packets === 0n) throw new Error(`${records} records were read`)
  return (records / (user + system)) * 1e6
}

/** CPU seconds of one reading, start included. */
function tsharkSeconds(path: string): number {
  const fields = TSHARK_FIELDS.flatMap(name => ['-e', `cflow.${name}`])
  const script = 'tshark "$@" > /dev/null 2>&1; times'
  const words = ['-c', script, 'bash', '-n', '-r', path, '-T', 'fields', ...fields]
  const children = execFileSync('bash', words, { encoding: 'utf8' }).trim().split('\n')[1] ?? ''
  const seconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s))
  return seconds.reduce((sum, one) => sum + one, 0)
}

/** Without its start, which a file of one message shows. */
function tsharkRate(long: string, one: string): number {
  return ((TSHARK_MESSAGES - 1) * RECORDS_EACH) / (tsharkSeconds(long) - tsharkSeconds(one))
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

const millions = (rate: number) => (rate / 1e6).toFixed(2)

function fileBench(directory: string): void {
  say(
    `decoding ${FILE_MESSAGES * RECORDS_EACH} records of a capture, tshark ${TSHARK_MESSAGES * RECORDS_EACH} of them; CPU time`,
  )
  const [long, short] = [file(directory, 'long.pcap', FILE_MESSAGES), file(directory, 'short.pcap', TSHARK_MESSAGES)]
  const one = file(directory, 'one.pcap', 1)
  const rates = { castproof: [] as number[], accounted: [] as number[], tshark: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    rates.castproof.push(decodeRate(long))
    rates.accounted.push(decodeRate(long, new FlowAccounts()))
    rates.tshark.push(tsharkRate(short, one))
  }
  for (const [name, list] of Object.entries(rates))
    say(`  ${name}: ${list.map(millions).join(', ')} M records/s of CPU`)
  const ratio = (ours: readonly number[]) => (median(ours) / median(rates.tshark)).toFixed(0)
  say(`  median: ${ratio(rates.castproof)} times tshark, ${ratio(rates.accounted)} times with the sums by flow`)
}

/** User and system time so far, in seconds. */
function cpuSeconds(pid: number): number {
  const columns = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(columns[11]) + Number(columns[12])) / 100
}

/** CPU time that a collector takes for all messages, from when it listens. */
async function collectorCpu(ns: Netns, messages: readonly Uint8Array[], argv: readonly string[]): Promise<number> {
  const child = execa('nsenter', [`--net=${ns.path}`, ...argv], {
    reject: false,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  try {
    while (!feed.isBound(ns, PORT)) await new Promise(resolve => setTimeout(resolve, 50))
    const before = cpuSeconds(child.pid as number)
    const { dropped } = await feed.send(ns, PORT, messages, () => undefined)
    const took = cpuSeconds(child.pid as number) - before
    if (dropped > 0) say(`  ${dropped} datagrams were dropped`)
    return took
  } finally {
    child.kill('SIGTERM')
    await child
  }
}

async function liveBench(directory: string): Promise<void> {
  const records = LIVE_MESSAGES * RECORDS_EACH
  say(`collecting ${records} records over the loopback, CPU time`)
  const messages = Array.from({ length: LIVE_MESSAGES }, (_, i) => message(i))
  const ns = createNetns()
  try {
    await inNetns(ns, () => execa('ip', ['link', 'set', 'lo', 'up']))
    const nfcapd = [
      packaged('nfdump', '/usr/bin/nfcapd'),
      '-w',
      directory,
      '-b',
      '127.0.0.1',
      '-p',
      String(PORT),
      '-t',
      '3600',
    ]
    const ours = [process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url), 'listen']
    const rates = { castproof: [] as number[], nfcapd: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      rates.castproof.push(records / (await collectorCpu(ns, messages, ours)))
      rates.nfcapd.push(records / (await collectorCpu(ns, messages, nfcapd)))
    }
    for (const [name, list] of Object.entries(rates))
      say(`  ${name}: ${list.map(millions).join(', ')} M records/s of CPU`)
    say(
      `  median: ${(median(rates.castproof) / median(rates.nfcapd)).toFixed(2)} times nfcapd, which writes them to a file as well`,
    )
  } finally {
    ns.close()
  }
}

/** A collector that sums up by flow, in a process of its own. */
async function listen(): Promise<void> {
  const accounts = new FlowAccounts()
  const decoder = new FlowDecoder({
    record: (data, header) => accounts.add(readFlowRecord(data, header)),
    event: () => {},
  })
  await FlowListener.open(decoder, 0x7f000001, PORT)
  process.on('SIGTERM', () => process.exit(0))
}

if (process.argv[2] === 'listen') await listen()
else {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-bench-'))
  try {
    fileBench(directory)
    await liveBench(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}
