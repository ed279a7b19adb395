import { IgmpHosts } from '../generators/igmp-host.ts'
import { SocketMemberships } from '../generators/linux/multicast-socket.ts'
import type { CompiledStream } from '../generators/stream.ts'
import { openAfPacketEngine } from '../generators/transmit/afpacket.ts'
import type { Engine, SendRecord, SentReport } from '../generators/transmit/engine.ts'
import type { Endpoint, Membership } from './endpoint.ts'
import { type ProgramEvent, type RunningProgram, startProgram } from './programs-run.ts'
import type { BedPod } from './target/bed.ts'

/** An endpoint of this process: sockets opened inside the pod's namespace, no agent in between. */
export class LocalEndpoint implements Endpoint {
  readonly pod: string
  private readonly bed: BedPod
  private engine: { record: SendRecord; engine: Engine } | undefined
  private hosts: IgmpHosts | undefined
  private sockets: SocketMemberships | undefined
  private readonly programs = new Set<RunningProgram>()

  constructor(bed: BedPod) {
    this.pod = bed.name
    this.bed = bed
  }

  async join(membership: Membership): Promise<void> {
    const { group, filter } = membership
    if (membership.via === 'emulator') return this.emulator().join(membership)
    this.sockets ??= new SocketMemberships(this.bed.ns, this.bed.address)
    this.sockets.join(group, filter)
  }

  async leave({ group, hosts }: Pick<Membership, 'group' | 'hosts'>): Promise<void> {
    this.sockets?.leave(group)
    this.hosts?.leave(group, hosts)
  }

  private emulator(): IgmpHosts {
    const { ns, podIndex: ifindex, mac, address } = this.bed
    this.hosts ??= new IgmpHosts({ ns, ifindex, mac, address })
    return this.hosts
  }

  send(streams: readonly CompiledStream[], record: SendRecord, stop: AbortSignal): Promise<SentReport[]> {
    if (this.engine?.record !== record) {
      this.engine?.engine.close()
      const { ns, podInterface } = this.bed
      this.engine = { record, engine: openAfPacketEngine({ ns, interface: podInterface, record }) }
    }
    return this.engine.engine.send(streams, stop)
  }

  async run(
    argv: readonly string[],
    input: string | undefined,
    listener: (event: ProgramEvent) => void,
  ): Promise<RunningProgram> {
    const program = await startProgram(this.bed.ns, argv, input, listener)
    this.programs.add(program)
    return program
  }

  async close(): Promise<void> {
    await Promise.all([...this.programs].map(program => program.stop()))
    this.programs.clear()
    this.sockets?.close()
    this.hosts?.close()
    this.engine?.engine.close()
    this.engine = undefined
  }
}
