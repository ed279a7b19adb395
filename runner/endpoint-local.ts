import { IgmpHosts } from '../generators/igmp-host.ts'
import { SocketMemberships } from '../generators/linux/multicast-socket.ts'
import type { Netns } from '../generators/linux/netns.ts'
import { openPacketSocket, type PacketSocket, SendBatch } from '../generators/linux/packet-sender.ts'
import type { CompiledStream } from '../generators/stream.ts'
import { openAfPacketEngine } from '../generators/transmit/afpacket.ts'
import type { Engine, SendRecord, SentReport } from '../generators/transmit/engine.ts'
import { formatIpv4 } from '../generators/wire/address.ts'
import type { Endpoint, Membership, ProgramWanted } from './endpoint.ts'
import { type ProgramEvent, type RunningProgram, startProgram } from './programs-run.ts'
import { programCommand } from './suite/programs.ts'

const SEND_TRIES = 10_000

/** A host whose namespace this process holds. */
export interface LocalHost {
  name: string
  address: number
  mac: number
  ns: Netns
  podInterface: string
}

/** An endpoint of this process: sockets opened inside the pod's namespace, no agent in between. */
export class LocalEndpoint implements Endpoint {
  readonly pod: string
  private readonly bed: LocalHost
  private engine: { record: SendRecord; engine: Engine } | undefined
  private readonly emulators = new Map<string, IgmpHosts>()
  private socket: PacketSocket | undefined
  private trouble: unknown
  private sockets: SocketMemberships | undefined
  private readonly programs = new Set<RunningProgram>()

  constructor(bed: LocalHost) {
    this.pod = bed.name
    this.bed = bed
  }

  async join(membership: Membership): Promise<void> {
    const { group, filter } = membership
    if (membership.via === 'emulator') {
      const hosts = this.emulator(membership)
      for (const address of this.addressesOf(membership)) hosts.join(address, group, filter)
      return
    }
    this.sockets ??= new SocketMemberships(this.bed.ns, this.bed.address)
    this.sockets.join(group, filter)
  }

  async leave(membership: Pick<Membership, 'group' | 'hosts'>): Promise<void> {
    this.sockets?.leave(membership.group)
    for (const emulator of this.emulators.values()) {
      for (const address of this.addressesOf(membership)) {
        if (emulator.has(address) && isMember(emulator.state(address), membership.group))
          emulator.leave(address, membership.group)
      }
    }
  }

  /** Before a host goes that others go on without: what it reported is taken back. */
  async leaveAll(): Promise<void> {
    this.sockets?.close()
    for (const emulator of this.emulators.values()) emulator.leaveAll()
  }

  /** A frame that came in at the pod: queries and others' reports reach the emulated hosts. */
  heard(frame: Uint8Array): void {
    for (const emulator of this.emulators.values()) emulator.receive(frame)
  }

  private addressesOf({ hosts }: Pick<Membership, 'hosts'>): readonly number[] {
    return hosts.length > 0 ? hosts : [this.bed.address]
  }

  /** Hosts of one kind. The same address may be a v2 host to one case and a v3 host to another: groups differ. */
  private emulator(membership: Membership): IgmpHosts {
    const { igmpVersion: version, robustness, answers } = membership
    const kind = JSON.stringify([version, robustness, answers])
    const known = this.emulators.get(kind) ?? this.newEmulator(kind)
    for (const address of this.addressesOf(membership)) {
      if (!known.has(address)) known.add({ address, mac: this.bed.mac, version, robustness, answers })
    }
    return known
  }

  private newEmulator(kind: string): IgmpHosts {
    const emulator = new IgmpHosts({ send: frame => this.sendFrame(frame), onError: error => this.failed(error) })
    this.emulators.set(kind, emulator)
    return emulator
  }

  /** A timer has nobody to throw to: the next thing asked of this endpoint does. */
  private failed(error: unknown): void {
    this.trouble ??= error
  }

  private sendFrame(frame: Uint8Array): void {
    const { ns, podInterface } = this.bed
    this.socket ??= openPacketSocket({ ns, interface: podInterface })
    const batch = new SendBatch(1, frame.length)
    batch.frames.set(frame)
    batch.setLength(0, frame.length)
    for (let tries = 0; batch.send(this.socket.fd, 0, 1) === 0; tries++) {
      if (tries === SEND_TRIES) throw new Error(`${this.pod}: the interface takes no frame`)
    }
  }

  async send(streams: readonly CompiledStream[], record: SendRecord, stop: AbortSignal): Promise<SentReport[]> {
    if (this.trouble !== undefined) throw this.trouble
    if (this.engine?.record !== record) {
      this.engine?.engine.close()
      const { ns, podInterface } = this.bed
      this.engine = { record, engine: openAfPacketEngine({ ns, interface: podInterface, record }) }
    }
    return this.engine.engine.send(streams, stop)
  }

  async run({ program, params }: ProgramWanted, listener: (event: ProgramEvent) => void): Promise<RunningProgram> {
    const place = { interface: this.bed.podInterface, address: formatIpv4(this.bed.address) }
    const { argv, input } = programCommand(program, params, place)
    const running = await startProgram(this.bed.ns, argv, input, listener)
    this.programs.add(running)
    return running
  }

  /** Frames that are nobody's stream, as they are. */
  inject(frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.sendFrame(frame)
  }

  async close(): Promise<void> {
    await Promise.all([...this.programs].map(program => program.stop()))
    this.programs.clear()
    this.sockets?.close()
    for (const emulator of this.emulators.values()) emulator.close()
    this.emulators.clear()
    this.socket?.close()
    this.socket = undefined
    this.engine?.engine.close()
    this.engine = undefined
  }
}

function isMember(state: { memberships(): number[] }, group: number): boolean {
  return state.memberships().includes(group)
}
