import * as assert from 'uvu/assert'
import { buildFrame } from '../generators/frame.ts'
import { PacketEmitter } from '../generators/linux/packet-emitter.ts'
import { PacketRing } from '../generators/linux/packet-ring.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { Bed, type BedPod } from '../runner/target/bed.ts'
import { suite } from '../test/suite.ts'
import { Datapath } from './datapath.ts'

const test = suite('1024 members', { timeoutMs: 120_000 })

const G = parseIpv4('239.196.0.1')
const FENCE = parseIpv4('239.196.0.2')
const MEMBERS = 1024
const DATAGRAMS = 20

let bed: Bed
let datapath: Datapath
let emitter: PacketEmitter
let ring: PacketRing
let pods: BedPod[]

test.before(async () => {
  const topology = {
    nodes: ['n1'],
    pods: Array.from({ length: MEMBERS + 2 }, (_, i) => ({ name: `p${i}`, node: 'n1' })),
  }
  bed = await Bed.create(topology)
  pods = [...bed.pods.values()]
  const { ns } = first()
  emitter = new PacketEmitter(ns.fd)
  ring = PacketRing.open({ netns: ns, ifindex: 0, blockBytes: 1 << 18, blocks: 128 })
})
test.after(async () => {
  ring.close()
  emitter.close()
  await bed.close()
})

const first = () => pods[0] as BedPod
const last = () => pods.at(-1) as BedPod

function load(faults: readonly string[] = []): void {
  const [node] = bed.nodeList
  if (!node) throw new Error('no node')
  datapath = Datapath.load({ node: { name: 'n1', address: node.address }, vni: 2, faults })
  for (const pod of pods) datapath.attachPod(node.ns, pod.nodeIndex, pod)
  for (const group of [G, FENCE]) datapath.enableGroup(group)
}

function join(pod: BedPod, group: number): void {
  const igmp = { records: [{ recordType: 4, multicastAddress: group }] }
  emitter.send(pod.podIndex, buildFrame({ igmp, ethernet: { src: pod.mac }, ipv4: { src: pod.address } }))
}

function send(group: number): void {
  const { address, mac, podIndex } = first()
  const frame = buildFrame({ ethernet: { src: mac }, ipv4: { src: address, dst: group }, udp: { dstPort: 5001 } })
  emitter.send(podIndex, frame)
}

/** UDP frames by interface, until the last pod has a fence that was sent after everything else. */
function copies(): Map<number, number> {
  const counts = new Map<number, number>()
  let fenced = false
  const deadline = performance.now() + 10_000
  while (!fenced) {
    if (performance.now() > deadline) throw new Error('the fence has not arrived')
    send(FENCE)
    ring.drainAll((bytes, at, _length, _original, _seconds, _nanoseconds, ifindex, direction) => {
      if (direction !== 1 || bytes[at + 23] !== 17) return
      if (bytes[at + 33] === (FENCE & 0xff)) fenced = true
      else counts.set(ifindex, (counts.get(ifindex) ?? 0) + 1)
    })
  }
  return counts
}

test('each of 1024 members gets every datagram once, in slices too; the 1025th is refused and counted', () => {
  load()
  for (const pod of pods.slice(1)) join(pod, G)
  join(last(), FENCE)
  assert.is(datapath.subscribers(G)[0]?.subscribers.length, MEMBERS)
  assert.is(datapath.drops()['member-limit'], 1)
  for (let i = 0; i < DATAGRAMS; i++) send(G)
  const counts = copies()
  assert.is(counts.size, MEMBERS)
  assert.is([...counts.values()].filter(count => count !== DATAGRAMS).length, 0)
  assert.not.ok(counts.has(last().podIndex))
  assert.ok(datapath.counters().slices > 0)
  datapath.close()
})

test('a place that becomes free is given to the next', () => {
  load()
  for (const pod of pods.slice(1)) join(pod, G)
  datapath.detachPod((pods[500] as BedPod).nodeIndex)
  join(last(), G)
  const subscribers = datapath.subscribers(G)[0]?.subscribers ?? []
  assert.is(subscribers.length, MEMBERS)
  assert.ok(subscribers.some(({ ifindex }) => ifindex === last().nodeIndex))
  datapath.close()
})

test('member-limit-off-by-one shows', () => {
  load(['member-limit-off-by-one'])
  for (const pod of pods.slice(1)) join(pod, G)
  assert.is(datapath.subscribers(G)[0]?.subscribers.length, MEMBERS - 1)
  datapath.close()
})

test.run()
