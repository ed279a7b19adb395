import { Datapath } from '../bpf/datapath.ts'
import { objectPath } from '../bpf/object-path.ts'
import { buildFrame } from '../generators/frame.ts'
import { setFeatures } from '../generators/linux/ethtool.ts'
import { attachTc, BpfObject, detachTc, update } from '../generators/linux/libbpf.ts'
import { pinThread, realtimeNs } from '../generators/linux/libc.ts'
import { inNetns } from '../generators/linux/netns.ts'
import { PacketEmitter } from '../generators/linux/packet-emitter.ts'
import { PacketRing } from '../generators/linux/packet-ring.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { Bed, type BedPod } from '../runner/target/bed.ts'

/** One way to replicate at one number of members. Times are of the best round and of the middle one. */
export interface ReplicationRate {
  side: string
  queues: string
  members: number
  /** Copies that arrived, a second, from the send of the first datagram to the arrival of the last copy. */
  copiesPerSecond: number
  lost: number
  /** First copy to the 1000th (or the last, of fewer) of one datagram. */
  bestSpreadUs: number
  medianSpreadUs: number
}

const GROUP = parseIpv4('239.197.0.1')
const ROUNDS = 7
const MEMBERS_MAX = 1024
const SPREAD_OVER = 1000
const LATE_MS = 200
const COPIES_PER_ROUND = 8_192
/** The ring hands a block over after 2 ms at the earliest: a round of thousands would take minutes. */
const DATAGRAMS_MAX = 64

/**
 * The datapath against a plain loop over a hash map that calls bpf_clone_redirect, on the same veths: as the kernel makes them, then with a
 * queue for each (GRO on at the pod's end and TSO off at the node's: the plain loop loses copies otherwise). Round by round in turn, so that
 * both see the same machine; what else runs on it only ever makes a round slower.
 */
export async function measureReplication(
  memberCounts: readonly number[] = [1, 16, 100, 1024],
): Promise<ReplicationRate[]> {
  const bench = await Bench.open()
  try {
    const oneQueue = memberCounts.flatMap(members => bench.compare(members, 'one queue'))
    bench.giveQueues()
    return [...oneQueue, ...memberCounts.flatMap(members => bench.compare(members, 'a queue per veth'))]
  } finally {
    await bench.close()
  }
}

/** The table for people, with the ratios that count. */
export function replicationTable(rates: readonly ReplicationRate[]): string {
  return rates
    .map(rate => {
      const same = (other: ReplicationRate) => other.members === rate.members && other.queues === rate.queues
      const ours = rates.find(same)?.copiesPerSecond ?? 0
      return [
        `${String(rate.members).padStart(4)} members  ${`${rate.side}, ${rate.queues}`.padEnd(30)}`,
        `${(rate.copiesPerSecond / 1e6).toFixed(3)} M copies/s`,
        `spread best ${rate.bestSpreadUs.toFixed(0)} median ${rate.medianSpreadUs.toFixed(0)} us`,
        `lost ${rate.lost}`,
        `ours is ${(ours / rate.copiesPerSecond).toFixed(2)} x`,
      ].join('   ')
    })
    .join('\n')
}

interface Round {
  copies: number
  lost: number
  seconds: number
  spreadsUs: number[]
}

interface Side {
  name: string
  /** Puts it on the sender's veth; the result takes it off again. */
  attach(members: readonly BedPod[]): () => void
}

class Bench {
  readonly #bed: Bed
  readonly #pods: BedPod[]
  readonly #emitter: PacketEmitter
  readonly #ring: PacketRing
  readonly #frame: Uint8Array
  readonly #sides: Side[] = [
    { name: 'castproof', attach: members => this.#attachDatapath(members) },
    { name: 'plain loop', attach: members => this.#attachPlainLoop(members) },
  ]

  static async open(): Promise<Bench> {
    const pods = Array.from({ length: MEMBERS_MAX + 1 }, (_, i) => ({ name: `p${i}`, node: 'n1' }))
    const bench = new Bench(await Bed.create({ nodes: ['n1'], pods }))
    pinThread(0)
    return bench
  }

  private constructor(bed: Bed) {
    this.#bed = bed
    this.#pods = [...bed.pods.values()]
    const { ns, mac, address } = this.#sender
    this.#emitter = new PacketEmitter(ns.fd)
    this.#ring = PacketRing.open({ netns: ns, ifindex: 0, blockBytes: 1 << 16, blocks: 256 })
    this.#frame = buildFrame({ ethernet: { src: mac }, ipv4: { src: address, dst: GROUP }, udp: { dstPort: 5001 } })
  }

  compare(members: number, queues: string): ReplicationRate[] {
    const rounds = new Map<Side, Round[]>(this.#sides.map(side => [side, []]))
    for (let round = 0; round < ROUNDS; round++)
      for (const side of this.#sides) rounds.get(side)?.push(this.#round(side, members))
    return [...rounds].map(([side, all]) => ({ queues, ...summary(side.name, members, all) }))
  }

  /** Copies wait in a NAPI queue of their veth, not in the backlog of the CPU as by default. */
  giveQueues(): void {
    const { ns, node } = this.#sender
    const ends = (end: 'podInterface' | 'nodeInterface') => this.#pods.map(pod => pod[end])
    inNetns(node.ns, () => setFeatures(ends('nodeInterface'), 'tso', false))
    inNetns(ns, () => setFeatures(ends('podInterface'), 'gro', true))
  }

  async close(): Promise<void> {
    this.#ring.close()
    this.#emitter.close()
    await this.#bed.close()
  }

  get #sender(): BedPod {
    return this.#pods[0] as BedPod
  }

  /** One datagram at a time: each is out when its last copy has been received. */
  #round(side: Side, members: number): Round {
    const detach = side.attach(this.#pods.slice(1, members + 1))
    const round: Round = { copies: 0, lost: 0, seconds: 0, spreadsUs: [] }
    this.#ring.drainAll(() => {})
    for (let left = Math.min(DATAGRAMS_MAX, Math.ceil(COPIES_PER_ROUND / members)); left > 0; left--)
      this.#datagram(members, round)
    detach()
    return round
  }

  #datagram(members: number, round: Round): void {
    const start = sinceMidnight(realtimeNs())
    this.#emitter.send(this.#sender.podIndex, this.#frame)
    const times: number[] = []
    const deadline = performance.now() + LATE_MS
    // A busy machine leaves the end of the work to ksoftirqd: late is not lost.
    do {
      this.#ring.drainAll((bytes, at, _length, _original, seconds, nanoseconds, _ifindex, direction) => {
        if (direction === 1 && bytes[at + 23] === 17) times.push((seconds % 86_400) * 1e9 + nanoseconds)
      })
    } while (times.length < members && performance.now() < deadline)
    times.sort((a, b) => a - b)
    const first = times[0] ?? start
    round.copies += times.length
    round.lost += members - times.length
    round.seconds += ((times.at(-1) ?? start) - start) / 1e9
    round.spreadsUs.push(((times[Math.min(times.length, SPREAD_OVER) - 1] ?? first) - first) / 1e3)
  }

  #attachDatapath(members: readonly BedPod[]): () => void {
    const [node] = this.#bed.nodeList
    if (!node) throw new Error('the bed has no node')
    const datapath = Datapath.load({ node, vni: 2 })
    for (const pod of [this.#sender, ...members]) datapath.attachPod(node.ns, pod.nodeIndex, pod)
    datapath.enableGroup(GROUP)
    for (const { podIndex, mac, address } of members) {
      const igmp = { type: 0x16, group: GROUP }
      this.#emitter.send(podIndex, buildFrame({ igmp, ethernet: { src: mac }, ipv4: { src: address } }))
    }
    return () => datapath.close()
  }

  #attachPlainLoop(members: readonly BedPod[]): () => void {
    const { node, nodeIndex } = this.#sender
    const object = new BpfObject(objectPath('plain-loop'))
    object.load(['plain_loop'])
    for (const member of members) {
      const ifindex = Buffer.alloc(4)
      ifindex.writeUInt32LE(member.nodeIndex)
      update(object.mapFd('members'), ifindex, ifindex)
    }
    inNetns(node.ns, () => attachTc(nodeIndex, object.programFd('plain_loop')))
    return () => {
      inNetns(node.ns, () => detachTc(nodeIndex))
      object.close()
    }
  }
}

function sinceMidnight(ns: bigint): number {
  return Number(ns % (86_400n * 1_000_000_000n))
}

function summary(side: string, members: number, rounds: readonly Round[]): Omit<ReplicationRate, 'queues'> {
  const spreads = rounds.flatMap(round => round.spreadsUs).sort((a, b) => a - b)
  return {
    side,
    members,
    copiesPerSecond: Math.max(...rounds.map(({ copies, seconds }) => copies / seconds)),
    lost: rounds.reduce((sum, { lost }) => sum + lost, 0),
    bestSpreadUs: spreads[0] ?? 0,
    medianSpreadUs: spreads[spreads.length >> 1] ?? 0,
  }
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) {
  console.log(replicationTable(await measureReplication()))
}
