import { setTimeout as delay } from 'node:timers/promises'
import { summary } from '../../captures/summary.ts'
import { IgmpHosts } from '../../generators/igmp-host.ts'
import type { Netns } from '../../generators/linux/netns.ts'
import { PacketRing, type RingVisitor } from '../../generators/linux/packet-ring.ts'
import { openPacketSocket, SendBatch } from '../../generators/linux/packet-sender.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { ETHER_TYPE, ethernet } from '../../generators/wire/ethernet.ts'
import { IGMP_TYPE, igmp } from '../../generators/wire/igmp.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { givenAddress, givenGroup, type NamedInterface, namedNamespace, sendingInterface } from '../by-hand.ts'
import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { UserError } from '../suite/errors.ts'
import type { JoinOptions } from './options.ts'

const DRAIN_MS = 5
const MAX_FRAME_BYTES = 9014
const DIRECTION_IN = 1
/** Repeats of a leave come within this (RFC 3376 section 8.11). */
const UNSOLICITED_REPORT_INTERVAL_MS = 1000

/** An IGMP host by hand: joins, answers queries, counts copies, and leaves when told to stop. */
export async function joinCommand(options: JoinOptions, io: Io): Promise<number> {
  const wanted = readMembership(options)
  const namespace = namedNamespace(options.netns)
  try {
    const device = await sendingInterface(options.interface, namespace)
    const address = options.address === undefined ? device.address : givenAddress('--address', options.address)
    if (address === undefined) {
      throw new UserError('no-address', `interface ${device.name} has no IPv4 address`, {
        hint: 'give --address ADDRESS',
      })
    }
    using host = new HostByHand(device, namespace, address, options.version)
    for (const group of wanted.groups) host.join(group, wanted.filter)
    printLine(io, joinedLine(options, address))
    await host.listen(wanted.groups, options, io)
    await host.leave(wanted.groups, options.version)
    for (const group of wanted.groups) printLine(io, `${formatIpv4(group)}: ${host.copies.get(group) ?? 0} copies`)
    return EXIT.passed
  } finally {
    namespace?.close()
  }
}

interface Wanted {
  groups: number[]
  filter: { mode: 'include' | 'exclude'; sources: number[] }
}

function readMembership(options: JoinOptions): Wanted {
  const groups = options.group.map(text => givenGroup('--group', text))
  const sources = options.source.map(text => givenAddress('--source', text))
  const mode = options.mode ?? (sources.length > 0 ? 'include' : 'exclude')
  if (sources.length > 0 && options.version !== 3) {
    throw new UserError('source-filter', `IGMPv${options.version} has no source filters`, { hint: 'use --version 3' })
  }
  if (mode === 'include' && sources.length === 0) {
    throw new UserError('source-filter', '--mode include without --source asks for nothing', { hint: 'give --source' })
  }
  return { groups, filter: { mode, sources } }
}

function joinedLine(options: JoinOptions, address: number): string {
  const filter = options.source.length > 0 ? ` (${options.mode ?? 'include'} ${options.source.join(', ')})` : ''
  const who = `${formatIpv4(address)} on ${options.interface}`
  return `${who} joined ${options.group.join(', ')}${filter} by IGMPv${options.version}; Ctrl-C leaves`
}

/** The emulator wired to one interface: a socket to send, a ring to hear. */
class HostByHand {
  readonly copies = new Map<number, number>()
  readonly #address: number
  readonly #hosts: IgmpHosts
  readonly #ring: PacketRing
  readonly #socket: ReturnType<typeof openPacketSocket>
  readonly #batch = new SendBatch(1, MAX_FRAME_BYTES)
  #failure: unknown

  constructor(device: NamedInterface, namespace: Netns | undefined, address: number, version: 1 | 2 | 3) {
    this.#address = address
    this.#socket = openPacketSocket({ ...(namespace ? { ns: namespace } : {}), interface: device.name })
    this.#ring = PacketRing.open({
      ...(namespace ? { netns: namespace } : {}),
      ifindex: device.index,
      promiscuous: true,
      retireMs: DRAIN_MS,
    })
    this.#hosts = new IgmpHosts({
      send: frame => this.#send(frame),
      onError: error => {
        this.#failure = error
      },
    })
    this.#hosts.add({ address, mac: device.mac, version, unsolicitedReportIntervalMs: UNSOLICITED_REPORT_INTERVAL_MS })
  }

  join(group: number, filter: Wanted['filter']): void {
    this.#hosts.join(this.#address, group, filter)
  }

  /** Until the signal or the time is up; prints queries as they come. */
  async listen(groups: readonly number[], options: JoinOptions, io: Io): Promise<void> {
    const endMs = performance.now() + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000
    const wanted = new Set(groups)
    const visit: RingVisitor = (bytes, at, length, _original, _seconds, _ns, _ifindex, direction) => {
      if (direction !== DIRECTION_IN) return
      const frame = bytes.subarray(at, at + length)
      this.#count(frame, wanted)
      if (isQuery(frame)) printLine(io, `heard ${summary(frame)}`)
      this.#hosts.receive(frame)
    }
    while (performance.now() < endMs && !io.signal.aborted) {
      this.#ring.drain(visit)
      if (this.#failure !== undefined) throw this.#failure
      await delay(DRAIN_MS)
    }
    this.#ring.drainAll(visit)
  }

  /** Says so as often as the Robustness Variable asks; IGMPv1 has no way to (RFC 1112 appendix I). */
  async leave(groups: readonly number[], version: 1 | 2 | 3): Promise<void> {
    for (const group of groups) this.#hosts.leave(this.#address, group)
    if (version === 3) await delay(UNSOLICITED_REPORT_INTERVAL_MS)
  }

  [Symbol.dispose](): void {
    this.#hosts.close()
    this.#ring.close()
    this.#socket.close()
  }

  #count(frame: Uint8Array, wanted: ReadonlySet<number>): void {
    if (frame.length < ethernet.length + ipv4.length) return
    if (ethernet.fields.etherType.get(frame, 0) !== ETHER_TYPE.IPV4) return
    const group = ipv4.fields.dst.get(frame, ethernet.length)
    const isIgmp = ipv4.fields.protocol.get(frame, ethernet.length) === IP_PROTOCOL.IGMP
    if (!isIgmp && wanted.has(group)) this.copies.set(group, (this.copies.get(group) ?? 0) + 1)
  }

  #send(frame: Uint8Array): void {
    this.#batch.frames.set(frame)
    this.#batch.setLength(0, frame.length)
    this.#batch.send(this.#socket.fd, 0, 1)
  }
}

function isQuery(frame: Uint8Array): boolean {
  if (frame.length < ethernet.length + ipv4.length + igmp.length) return false
  if (ethernet.fields.etherType.get(frame, 0) !== ETHER_TYPE.IPV4) return false
  const at = ethernet.length + ipv4HeaderLength(frame, ethernet.length)
  const isIgmp = ipv4.fields.protocol.get(frame, ethernet.length) === IP_PROTOCOL.IGMP
  return isIgmp && at + igmp.length <= frame.length && igmp.fields.type.get(frame, at) === IGMP_TYPE.MEMBERSHIP_QUERY
}
