import { basename, dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { compileFilter, FilterError } from '../../captures/filter.ts'
import { Tap } from '../../captures/tap.ts'
import type { Netns } from '../../generators/linux/netns.ts'
import { namedInterface, namedNamespace, writablePath } from '../by-hand.ts'
import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { UserError } from '../suite/errors.ts'
import type { CaptureOptions } from './options.ts'

const DRAIN_MS = 10
const TELL_MS = 500
const RING_BYTES = 64 << 20

/** Writes a pcapng until Ctrl-C, --count or --seconds; dropped frames are said, never hidden. */
export async function captureCommand(options: CaptureOptions, io: Io): Promise<number> {
  const namespace = namedNamespace(options.netns)
  try {
    const tap = await openTap(options, namespace, io)
    try {
      printLine(io, `listening on ${options.interface}, writing ${options.write}; Ctrl-C stops`)
      await drainUntilTold(tap, options, io)
    } finally {
      const { received, dropped } = tap.close()
      printLine(io, `${received} frames received, ${dropped} dropped by the kernel`)
    }
    return EXIT.passed
  } finally {
    namespace?.close()
  }
}

async function openTap(options: CaptureOptions, namespace: Netns | undefined, io: Io): Promise<Tap> {
  const path = writablePath(options.write, io.cwd)
  const { index, name } = await namedInterface(options.interface, namespace)
  return Tap.open({
    ...(namespace ? { ns: namespace } : {}),
    directory: dirname(path),
    file: basename(path),
    nameOf: ifindex => (ifindex === index ? name : undefined),
    ifindex: index,
    promiscuous: true,
    ringBytes: RING_BYTES,
    ...(options.filter === undefined ? {} : { filter: await filterOf(options.filter) }),
  })
}

async function filterOf(expression: string): Promise<Uint8Array> {
  try {
    return await compileFilter(expression)
  } catch (cause) {
    if (!(cause instanceof FilterError)) throw cause
    throw new UserError('bad-filter', cause.message, {
      hint: "see pcap-filter(7); for example 'igmp or udp port 5001'",
    })
  }
}

async function drainUntilTold(tap: Tap, options: CaptureOptions, io: Io): Promise<void> {
  const endMs = performance.now() + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000
  let frames = 0
  let toldMs = performance.now()
  while (frames < (options.count ?? Number.POSITIVE_INFINITY) && performance.now() < endMs && !io.signal.aborted) {
    frames += tap.drain()
    if (performance.now() - toldMs > TELL_MS) {
      toldMs = performance.now()
      tap.flush()
      if (io.stderr.isTTY) io.stderr.write(`\r${frames} frames, ${tap.counters().dropped} dropped `)
    }
    await delay(DRAIN_MS)
  }
  if (io.stderr.isTTY) io.stderr.write('\r')
}
