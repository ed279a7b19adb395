import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { objectPath } from '../bpf/object-path.ts'
import { realtimeNs } from '../generators/linux/libc.ts'
import { createNetns, type Netns } from '../generators/linux/netns.ts'
import { openSentLog } from '../generators/sent.ts'
import { type CompiledStream, compile } from '../generators/stream.ts'
import { openAfPacketEngine } from '../generators/transmit/afpacket.ts'
import { openCapEngine } from '../generators/transmit/cap.ts'
import type { Engine } from '../generators/transmit/engine.ts'
import { openPcapFileEngine } from '../generators/transmit/pcapfile.ts'
import { openXdpEngine } from '../generators/transmit/xdp.ts'
import { parseIpv4 } from '../generators/wire/address.ts'

/** Frames a second of one sender: the best of the rounds, each by the program's own clock, all frames arrived. */
export interface SenderRate {
  sender: string
  framesPerSecond: number
}

const ROUNDS = 5

/**
 * Our sender against trafgen and tcpreplay: 60-byte frames into a veth, one CPU each, round by round in turn so that all see the same
 * machine; what else runs on it only ever makes a round slower, so the best one counts. Ours stamps and records every frame; the others repeat theirs.
 */
export async function measureSenders(frames = 1_000_000): Promise<SenderRate[]> {
  const bed = openBed()
  try {
    const senders = await sendersOn(bed, frames)
    const rates = new Map<string, number[]>(senders.map(({ name }) => [name, []]))
    for (let round = 0; round < ROUNDS; round++) {
      for (const sender of senders) rates.get(sender.name)?.push(await arrivedRate(bed, sender, frames))
    }
    return [...rates].map(([sender, rounds]) => ({ sender, framesPerSecond: Math.max(...rounds) }))
  } finally {
    bed.close()
  }
}

/** The table for people, with the ratios that count. */
export function senderTable(rates: readonly SenderRate[]): string {
  const ours = rates[0]?.framesPerSecond ?? 0
  const line = ({ sender, framesPerSecond }: SenderRate) => {
    const ratio = `${(ours / framesPerSecond).toFixed(2)} x`
    return `${sender.padEnd(28)} ${(framesPerSecond / 1e6).toFixed(3).padStart(8)} M frames/s   ours is ${ratio}`
  }
  return rates.map(line).join('\n')
}

interface Bed {
  near: Netns
  far: Netns
  folder: string
  close(): void
}

function openBed(): Bed {
  const [near, far] = [createNetns(), createNetns()]
  const folder = mkdtempSync(join(tmpdir(), 'sender-bench-'))
  for (const ns of [near, far]) inside(ns, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1')
  inside(near, 'ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far', 'netns', far.path)
  inside(near, 'ip', 'link', 'set', 'near', 'up', 'arp', 'off')
  inside(far, 'ip', 'link', 'set', 'far', 'up', 'arp', 'off')
  inside(far, 'ethtool', '-K', 'far', 'gro', 'on')
  const close = (): void => {
    near.close()
    far.close()
    rmSync(folder, { recursive: true })
  }
  return { near, far, folder, close }
}

function inside(ns: Netns, ...command: string[]): string {
  const args = [`--net=${ns.path}`, ...command]
  return execFileSync('nsenter', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

interface Sender {
  name: string
  /** Sends all frames and says how long it took by its own clock. */
  seconds(): number | Promise<number>
}

async function sendersOn(bed: Bed, frames: number): Promise<Sender[]> {
  const stream = () => oneStream(frames)
  const one = await pcapOf(bed.folder, oneStream(1))
  const others = [
    { name: 'trafgen -P 1', seconds: () => trafgenSeconds(bed, one.bytes, frames) },
    { name: 'tcpreplay -K --topspeed', seconds: () => tcpreplaySeconds(bed, frames) },
  ]
  const ours = (name: string, open: (record: ReturnType<typeof openSentLog>) => Engine | Promise<Engine>) => ({
    name,
    seconds: () => engineSeconds(bed, stream(), open),
  })
  const target = { ns: bed.near, interface: 'near' }
  return [
    ours('castproof', record => openAfPacketEngine({ ...target, record })),
    ours('castproof, qdisc bypass', record => openAfPacketEngine({ ...target, record, qdiscBypass: true })),
    ours('castproof, engine xdp', record => openXdpEngine({ ...target, record, object: objectPath('xdp-send') })),
    ours('castproof, engine cap', record => openCapEngine({ ...target, record })),
    ...others,
  ]
}

const RUN_START_NS = realtimeNs()

function oneStream(count: number): CompiledStream {
  const frame = { ipv4: { dst: parseIpv4('233.252.0.1') }, udp: {} }
  const spec = { number: 1, name: 'bench', stamped: true, rate: 'max' as const, count, frame }
  return compile(spec, { runId: 1, runStartNs: RUN_START_NS })
}

async function engineSeconds(
  bed: Bed,
  stream: CompiledStream,
  open: (record: ReturnType<typeof openSentLog>) => Engine | Promise<Engine>,
): Promise<number> {
  const path = join(bed.folder, 'sent.bin')
  rmSync(path, { force: true })
  const record = openSentLog(path, RUN_START_NS)
  const engine = await open(record)
  const startMs = performance.now()
  await engine.send([stream], new AbortController().signal)
  const seconds = (performance.now() - startMs) / 1000
  engine.close()
  record.close()
  return seconds
}

async function pcapOf(folder: string, stream: CompiledStream): Promise<{ bytes: Uint8Array }> {
  const engine = openPcapFileEngine({ path: join(folder, 'one.pcap') })
  // A thousand copies, so that tcpreplay's loop costs it nothing.
  for (let copy = 0; copy < 1000; copy++) await engine.send([stream], new AbortController().signal)
  engine.close()
  return { bytes: stream.variants[0]?.[0]?.bytes ?? new Uint8Array() }
}

/** "1 sec, 301837 usec on CPU0 (1000000 packets)". */
function trafgenSeconds({ near, folder }: Bed, frame: Uint8Array, frames: number): number {
  const config = join(folder, 'one.trafgen')
  writeFileSync(config, `{ ${[...frame].map(byte => `0x${byte.toString(16)}`).join(', ')} }\n`)
  const options = ['--dev', 'near', '--conf', config, '--num', String(frames), '--cpus', '1']
  const output = inside(near, 'sh', '-c', 'exec trafgen "$@" 2>&1', 'sh', ...options)
  const [, seconds, microseconds] = /(\d+) sec, (\d+) usec on CPU/.exec(output) ?? []
  return Number(seconds) + Number(microseconds) / 1e6
}

/** "Actual: 1000000 packets (60000000 bytes) sent in 1.99 seconds". */
function tcpreplaySeconds({ near, folder }: Bed, frames: number): number {
  const options = ['-i', 'near', '-K', '--topspeed', '--loop', String(frames / 1000), join(folder, 'one.pcap')]
  const output = inside(near, 'tcpreplay', ...options)
  return Number(/sent in ([\d.]+) seconds/.exec(output)?.[1])
}

async function arrivedRate(bed: Bed, sender: Sender, frames: number): Promise<number> {
  const before = received(bed)
  const seconds = await sender.seconds()
  const arrived = received(bed) - before
  if (arrived !== frames) throw new Error(`${sender.name}: ${arrived} of ${frames} frames arrived`)
  if (!(seconds > 0)) throw new Error(`${sender.name} did not say how long it took`)
  return frames / seconds
}

function received({ far }: Bed): number {
  const [link] = JSON.parse(inside(far, 'ip', '-j', '-s', 'link', 'show', 'far'))
  return link.stats64.rx.packets
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) {
  console.log(senderTable(await measureSenders()))
}
