import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCapture } from '../capture-file.ts'
import { PcapngWriter } from '../pcapng-writer.ts'
import { DIRECTION } from '../record.ts'
import { summary } from '../summary.ts'
import { fragmentsOf, inVxlan, stampedFrame, tagged } from './frames.ts'

/**
 * Captures that only change on purpose, each with a .txt twin: origin, then for every frame tcpdump's line and ours. Those of
 * other programs were recorded once and are never written again; only ours is made anew by `npm run golden`.
 */
export const GOLDEN: Readonly<Record<string, string>> = {
  'castproof-stamped.pcapng': 'castproof, captures/testdata/golden.ts: fixed clock, run 0abcde',
  'linux-esp.pcapng':
    'Linux 6.1 XFRM in the VM, captures/testdata/esp-golden.ts: every algorithm, a fragmented packet, ESP in VXLAN, ESP in VXLAN in ESP, VXLAN in ESP; the far end answers in clear',
  'linux-igmp.pcap':
    'Linux 6.18, recorded with tcpdump at the far end of a veth: socat joins and leaves 233.252.0.11 (IGMPv3), Python joins 232.1.1.1 from 10.0.0.9, then 233.252.0.12 with force_igmp_version=2',
  'linux-vxlan.pcap': 'Linux 6.18 VXLAN device, VNI 42: ARP and a datagram to a closed port, recorded with tcpdump at the underlay',
  'scapy-mixed.pcap':
    'scapy 2.5: ESP; 802.1Q and ICMP; IGMPv3 report with auxiliary data (checksum 0); two VXLAN levels; Total Length too long; MLDv2; two fragments',
}

const HERE = fileURLToPath(new URL('.', import.meta.url))
export const goldenPath = (name: string): string => join(HERE, name)
export const twinPath = (name: string): string => join(HERE, name.replace(/\.\w+$/, '.txt'))

/** The text twin as it should be. */
export function twin(name: string): string {
  const theirs = tcpdumpLines(goldenPath(name))
  const ours = summaries(goldenPath(name))
  const lines = ours.map((line, i) => `${i + 1} tcpdump: ${theirs[i] ?? '(nothing)'}\n${i + 1} ours:    ${line}\n`)
  return `origin: ${GOLDEN[name]}\n\n${lines.join('\n')}`
}

/** One entry for each frame, however many lines it takes; addresses as numbers, no times. */
function tcpdumpLines(path: string): string[] {
  const text = execFileSync('tcpdump', ['-r', path, '-n', '-t', '-v', '-#'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return text.split(/^\s*\d+ {2}/m).slice(1).map(entry => entry.trim().replace(/\s*\n\s*/g, ' / '))
}

function summaries(path: string): string[] {
  const capture = openCapture(path)
  const lines: string[] = []
  capture.read(frame => {
    lines.push(summary(frame.bytes.slice(frame.at, frame.at + frame.length), 0, frame.length, frame.originalLength))
  })
  capture.close()
  return lines
}

/** Every kind of frame that castproof itself sends with a stamp. */
export function writeStamped(path: string): void {
  const writer = new PcapngWriter(path)
  const [sender, uplink, receiver] = ['tx/eth0', 'n1/eth0', 'rx/eth0'].map(name => writer.addInterface(name)) as [number, number, number]
  const frame = stampedFrame(1, 0)
  const large = stampedFrame(2, 1, { payloadBytes: 200 })
  const frames: [number, number, Uint8Array, string?][] = [
    [sender, DIRECTION.out, frame],
    [uplink, DIRECTION.out, inVxlan(frame)],
    [uplink, DIRECTION.out, inVxlan(inVxlan(frame, 2, 4789), 3)],
    [receiver, DIRECTION.in, frame, 'a comment'],
    [receiver, DIRECTION.in, tagged(tagged(frame, 7), 9)],
    ...fragmentsOf(large, 104).map((part): [number, number, Uint8Array] => [receiver, DIRECTION.in, part]),
    [uplink, DIRECTION.out, inVxlan(fragmentsOf(large, 104)[1] as Uint8Array)],
  ]
  for (const [i, [id, direction, bytes, comment]] of frames.entries()) {
    writer.frame(id, bytes, 0, bytes.length, bytes.length, 1_000_000_000, i * 1000, direction, false, comment)
  }
  for (const id of [sender, uplink, receiver]) writer.statistics(id, 3, 0)
  writer.close()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeStamped(goldenPath('castproof-stamped.pcapng'))
  for (const name of Object.keys(GOLDEN)) writeFileSync(twinPath(name), twin(name))
}
