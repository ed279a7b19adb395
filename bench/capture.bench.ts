import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openLedger } from '../captures/ledger.ts'
import { PcapngWriter } from '../captures/pcapng-writer.ts'
import { Tap } from '../captures/tap.ts'
import { inVxlan, RUN, stampedFrame } from '../captures/testdata/frames.ts'
import { type VethBed, vethBed } from '../captures/testdata/veth.ts'
import { patchStamp, stampBase } from '../generators/wire/stamp.ts'

/**
 * Capture against `tcpdump -w`, judging against `tshark -T fields`, both sides in one run; and the peak memory of judging ten
 * million frames. Ratios are what counts: rates are of this machine.
 */
const FRAMES = 2_000_000
const TSHARK_FRAMES = 200_000
const MEMORY_FRAMES = 10_000_000
const RING_BYTES = 64 << 20

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** What one attempt at one rate came to. */
interface Attempt {
  captured: number
  dropped: number
  seconds: number
}

type Capture = (bed: VethBed, directory: string, pps: number | undefined) => Promise<Attempt>

function startSender(bed: VethBed, directory: string, pps: number | undefined): ChildProcess {
  const config = join(directory, 'frame.cfg')
  writeFileSync(config, `{ ${[...stampedFrame(1, 0)].join(', ')} }`)
  const rate = pps === undefined ? [] : ['-b', `${pps}pps`]
  const args = [
    `--net=${bed.left.path}`,
    'trafgen',
    '-i',
    config,
    '-o',
    'left',
    '-P',
    '1',
    '-n',
    String(FRAMES),
    '-q',
    ...rate,
  ]
  return spawn('nsenter', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** A process that does nothing else, as `castproof capture` is: it blocks in poll and never yields. */
const castproof: Capture = async (bed, directory, pps) => {
  const nameOf = () => 'right/eth0'
  const options = { ns: bed.right, ifindex: bed.rightIndex, ringBytes: RING_BYTES, retireMs: 10 }
  const tap = Tap.open({ ...options, directory, file: 'castproof.pcapng', nameOf, runId: RUN })
  const sender = startSender(bed, directory, pps)
  const exited = new Promise(resolve => sender.on('exit', resolve))
  let first = 0
  let last = performance.now()
  const giveUp = last + 60_000
  while (performance.now() < giveUp && (first === 0 || performance.now() - last < 500)) {
    tap.wait(50)
    if (tap.drain() === 0) continue
    last = performance.now()
    first ||= last
  }
  await exited
  const { received, dropped } = tap.close()
  return { captured: received, dropped, seconds: (last - first) / 1000 }
}

const tcpdump: Capture = async (bed, directory, pps) => {
  const file = join(directory, 'tcpdump.pcap')
  const args = [`--net=${bed.right.path}`, 'tcpdump', '-i', 'right', '-n', '-B', String(RING_BYTES / 1024), '-w', file]
  const child = spawn('nsenter', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  await new Promise<void>(resolve =>
    child.stderr.on('data', chunk => {
      said += String(chunk)
      if (said.includes('listening on')) resolve()
    }),
  )
  const start = performance.now()
  await new Promise(resolve => startSender(bed, directory, pps).on('exit', resolve))
  const seconds = (performance.now() - start) / 1000
  // Its ring hands blocks over after a second at most.
  await new Promise(resolve => setTimeout(resolve, 1500))
  child.kill('SIGINT')
  await new Promise(resolve => child.on('exit', resolve))
  const count = (what: string) => Number(new RegExp(`(\\d+) packets? ${what}`).exec(said)?.[1] ?? 0)
  return { captured: count('captured'), dropped: count('dropped by kernel'), seconds }
}

/** The highest rate at which nothing was lost: as fast as the sender goes, then less and less. */
async function lossFree(name: string, capture: Capture, bed: VethBed, directory: string): Promise<number> {
  let pps: number | undefined
  for (let step = 0; step < 5; step++) {
    const { captured, dropped, seconds } = await capture(bed, directory, pps)
    const rate = FRAMES / seconds
    const asked = pps === undefined ? 'full speed' : `${(pps / 1e6).toFixed(2)} M/s asked`
    say(`  ${name}: ${asked}, ${(rate / 1e6).toFixed(2)} M frames/s, ${captured} captured, ${dropped} dropped`)
    if (dropped === 0 && captured === FRAMES) return rate
    pps = Math.round(rate * 0.8)
  }
  return 0
}

async function captureBench(directory: string): Promise<void> {
  say(`capture of ${FRAMES} frames of 60 bytes from trafgen, to a file`)
  const bed = vethBed()
  try {
    const ours = await lossFree('castproof', castproof, bed, directory)
    const theirs = await lossFree('tcpdump -w', tcpdump, bed, directory)
    say(
      `  loss-free: castproof ${(ours / 1e6).toFixed(2)}, tcpdump ${(theirs / 1e6).toFixed(2)} M frames/s, ratio ${(ours / theirs).toFixed(2)}`,
    )
  } finally {
    bed.close()
  }
}

/** Stamped frames as a run leaves them: a copy at the sender's veth, two in the tunnel, one at the receiver. */
function writeRun(directory: string, file: string, frames: number): void {
  const writer = new PcapngWriter(join(directory, file))
  const taps = ['n1/lxc_tx', 'n1/eth0', 'n2/eth0', 'rx/eth0'].map(name => writer.addInterface(name))
  const plain = stampedFrame(1, 0)
  const tunnelled = inVxlan(plain)
  const base = stampBase(RUN, 1)
  for (let i = 0; i < frames; i++) {
    const place = i & 3
    const frame = place === 1 || place === 2 ? tunnelled : plain
    patchStamp(frame, frame === plain ? 42 : 92, base, i >>> 2, i)
    const [seconds, nanoseconds] = [1_700_000_000 + Math.floor(i / 1e6), (i % 1e6) * 1000]
    writer.frame(taps[place] as number, frame, 0, frame.length, frame.length, seconds, nanoseconds, (place & 1) + 1)
  }
  writer.close()
}

function ledgerRate(directory: string, file: string, frames: number): number {
  const start = performance.now()
  const { recording, ledger } = openLedger(directory, [file], { runId: RUN })
  const copies = ledger.copies(3, 1, 2, frames / 4)
  const rate = (frames / (performance.now() - start)) * 1000
  recording.close()
  if (ledger.count !== frames || !copies.every(count => count === 1)) throw new Error('the ledger is wrong')
  return rate
}

function tsharkRate(directory: string, file: string, frames: number): number {
  const fields = ['frame.time_epoch', 'frame.interface_name', 'ip.dst', 'udp.dstport', 'data.data'].flatMap(f => [
    '-e',
    f,
  ])
  const start = performance.now()
  execFileSync('tshark', ['-r', join(directory, file), '-n', '-d', 'udp.port==8472,vxlan', '-T', 'fields', ...fields], {
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  return (frames / (performance.now() - start)) * 1000
}

function judgeBench(directory: string): void {
  writeRun(directory, 'run.pcapng', FRAMES)
  writeRun(directory, 'short.pcapng', TSHARK_FRAMES)
  say(`reading, dissecting and ledger of ${FRAMES} stamped frames, half of them in VXLAN`)
  const theirs = tsharkRate(directory, 'short.pcapng', TSHARK_FRAMES)
  say(`  tshark -T fields: ${(theirs / 1e6).toFixed(3)} M frames/s (over ${TSHARK_FRAMES} frames)`)
  const rates = [1, 2, 3].map(() => ledgerRate(directory, 'run.pcapng', FRAMES)).sort((a, b) => a - b)
  const ours = rates[1] as number
  say(
    `  castproof: ${rates.map(rate => (rate / 1e6).toFixed(2)).join(', ')} M frames/s, median is ${(ours / theirs).toFixed(0)} times tshark`,
  )
}

/** In a process of its own, so that what others here allocated does not count. */
function memoryBench(directory: string): void {
  writeRun(directory, 'large.pcapng', MEMORY_FRAMES)
  const megabytes = (statSync(join(directory, 'large.pcapng')).size / 2 ** 20).toFixed(0)
  const args = ['--import', 'tsx', fileURLToPath(import.meta.url), 'memory', directory]
  const [rate, peakMiB] = execFileSync(process.execPath, args, { encoding: 'utf8' }).trim().split(' ').map(Number)
  say(
    `ledger of ${MEMORY_FRAMES} frames (${megabytes} MiB): ${((rate ?? 0) / 1e6).toFixed(2)} M frames/s, peak RSS ${peakMiB} MiB`,
  )
}

if (process.argv[2] === 'memory') {
  const rate = ledgerRate(process.argv[3] as string, 'large.pcapng', MEMORY_FRAMES)
  say(`${rate.toFixed(0)} ${(process.resourceUsage().maxRSS / 1024).toFixed(0)}`)
} else {
  say(`${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Linux ${release()}, Node ${process.version}`)
  const directory = mkdtempSync(join(tmpdir(), 'castproof-bench-'))
  try {
    await captureBench(directory)
    judgeBench(directory)
    memoryBench(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}
