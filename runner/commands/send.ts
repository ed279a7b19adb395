import { randomInt } from 'node:crypto'
import { objectPath } from '../../bpf/object-path.ts'
import { realtimeNs } from '../../generators/linux/libc.ts'
import type { Netns } from '../../generators/linux/netns.ts'
import { type CompiledStream, compile } from '../../generators/stream.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import { openAfPacketEngine } from '../../generators/transmit/afpacket.ts'
import { openCapEngine } from '../../generators/transmit/cap.ts'
import type { Engine, SentReport } from '../../generators/transmit/engine.ts'
import { openPcapFileEngine } from '../../generators/transmit/pcapfile.ts'
import { openXdpEngine } from '../../generators/transmit/xdp.ts'
import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import { givenAddress, givenGroup, namedNamespace, sendingInterface, writablePath } from '../by-hand.ts'
import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { UserError } from '../suite/errors.ts'
import type { SendOptions } from './options.ts'

/** Where frames of a pcap file come from when nobody says: TEST-NET-1 (RFC 5737) and a MAC for documentation (RFC 7042). */
const FILE_SENDER = { address: 0xc0000201, mac: 0x00005e005301 }

/** One stream by hand; says first what it will send, then what left and how fast. */
export async function sendCommand(options: SendOptions, io: Io): Promise<number> {
  if ((options.interface === undefined) === (options.pcap === undefined)) {
    throw new UserError('where', 'say where the frames go: either --interface NAME or --pcap FILE')
  }
  const namespace = namedNamespace(options.netns)
  try {
    const stream = await streamOf(options, namespace)
    const engine = await engineOf(options, namespace, io)
    try {
      describe(stream, options, io)
      const [report] = await engine.send([stream], io.signal)
      if (report !== undefined) tell(report, options, io)
      return EXIT.passed
    } finally {
      engine.close()
    }
  } finally {
    namespace?.close()
  }
}

async function streamOf(options: SendOptions, namespace: Netns | undefined): Promise<CompiledStream> {
  const sender = await senderOf(options, namespace)
  const spec: StreamSpec = {
    number: 1,
    name: 'send',
    frame: {
      ethernet: { src: sender.mac },
      ipv4: { src: sender.address, dst: givenGroup('--group', options.group), ttl: options.ttl },
      udp: { srcPort: options.port, dstPort: options.port },
    },
    stamped: true,
    count: options.count,
    rate: options.pps === undefined ? 'max' : { pps: options.pps },
    lengths: { bytes: options.size },
  }
  return compile(spec, { runId: randomInt(1, 0x1000000), runStartNs: realtimeNs() })
}

async function senderOf(options: SendOptions, namespace: Netns | undefined): Promise<{ mac: number; address: number }> {
  const given = options.source === undefined ? undefined : givenAddress('--source', options.source)
  if (options.interface === undefined) return { ...FILE_SENDER, address: given ?? FILE_SENDER.address }
  const { mac, address = given } = await sendingInterface(options.interface, namespace)
  if (address !== undefined) return { mac, address: given ?? address }
  throw new UserError('no-source', `interface ${options.interface} has no IPv4 address`, {
    hint: 'give --source ADDRESS',
  })
}

async function engineOf(options: SendOptions, namespace: Netns | undefined, io: Io): Promise<Engine> {
  if (options.pcap !== undefined) return openPcapFileEngine({ path: writablePath(options.pcap, io.cwd) })
  const target = { ...(namespace ? { ns: namespace } : {}), interface: options.interface ?? '' }
  switch (options.engine) {
    case 'afpacket':
      return openAfPacketEngine(target)
    case 'cap':
      return openCapEngine(target)
    case 'xdp':
      return openXdpEngine({ ...target, object: objectPath('xdp-send') })
  }
}

function describe({ spec }: CompiledStream, options: SendOptions, io: Io): void {
  const { ethernet, ipv4 } = spec.frame
  const from = `${formatIpv4(ipv4?.src ?? 0)} (${formatMac(ethernet?.src ?? 0)})`
  const where = options.pcap === undefined ? `through ${placeOf(options)}` : `into ${options.pcap}`
  const pace = options.pps === undefined ? 'as fast as it goes' : `at ${options.pps} a second`
  const what = `${options.count} datagrams in frames of ${options.size} bytes`
  printLine(
    io,
    `sending ${what} from ${from} to ${options.group}:${options.port}, TTL ${options.ttl}, ${where}, ${pace}`,
  )
}

function placeOf(options: SendOptions): string {
  return options.netns === undefined ? `${options.interface}` : `${options.interface} in ${options.netns}`
}

function tell(report: SentReport, options: SendOptions, io: Io): void {
  const { frames, bytes, pps, bitsPerSecond, gapsUs } = report
  const verb = options.pcap === undefined ? 'sent' : 'wrote'
  const rate = pps > 0 ? `: ${figure(pps)} a second, ${figure(bitsPerSecond / 1e6)} Mbit/s` : ''
  printLine(io, `${verb} ${frames} frames, ${bytes} bytes${rate}`)
  if (gapsUs === undefined || options.pcap !== undefined) return
  const { min, mean, p99, max } = gapsUs
  printLine(io, `gaps in us: least ${figure(min)}, mean ${figure(mean)}, 99 % ${figure(p99)}, most ${figure(max)}`)
}

function figure(value: number): string {
  return value >= 100 ? Math.round(value).toString() : value.toPrecision(3)
}
