import type { Readable } from 'node:stream'
import { execa } from 'execa'
import { parse } from 'pcap-parser'

export interface TcpdumpOptions {
  /** What brings tcpdump where it captures: `['docker', 'exec', '-i', 'c1']`. Empty: here. */
  prefix: readonly string[]
  interface: string
  /** pcap-filter(7). Behind ssh a remote shell reads it again: quote it there. */
  filter?: string
  /** Only frames of this direction, since tcpdump's file does not tell; left out: both. */
  direction?: 'in' | 'out'
  onFrame: (frame: RemoteFrame) => void
  readyWithinMs?: number
}

export interface RemoteFrame {
  bytes: Uint8Array
  originalLength: number
  /** CLOCK_REALTIME of the machine that captures, in microseconds as tcpdump writes them. */
  seconds: number
  nanoseconds: number
}

/** A running capture; `stop` resolves when everything that was captured has been handed over. */
export interface RemoteCapture {
  stop(): Promise<RemoteCounters>
}

/** As tcpdump counts them when it ends; undefined when it did not get to say. */
export interface RemoteCounters {
  received: number | undefined
  dropped: number | undefined
}

const READY_WITHIN_MS = 15_000
const STOP_WITHIN_MS = 5_000

/** Starts `PREFIX… tcpdump -w -` and resolves when it listens: a frame sent after that is captured. */
export async function openTcpdump(options: TcpdumpOptions): Promise<RemoteCapture> {
  const [file, ...args] = [...options.prefix, ...tcpdumpCommand(options)] as [string, ...string[]]
  const child = execa(file, args, {
    stdin: 'ignore',
    buffer: false,
    encoding: 'buffer',
    reject: false,
    forceKillAfterDelay: STOP_WITHIN_MS,
  })
  const said = lines(child.stderr)
  const parsed = frames(child.stdout, options.onFrame)
  const ended = child.then(result => new Error(`${file}: ${said.text().trim() || result.shortMessage || 'ended'}`))
  const limitMs = options.readyWithinMs ?? READY_WITHIN_MS
  const failure = await said.until(/listening on /, ended, limitMs)
  if (failure) {
    child.kill('SIGTERM')
    await Promise.allSettled([child, parsed])
    throw failure
  }
  return {
    async stop() {
      child.kill('SIGINT')
      await child
      await parsed
      return { received: counter(said.text(), 'captured'), dropped: counter(said.text(), 'dropped by kernel') }
    },
  }
}

/**
 * Immediate mode hands frames over one by one, so that none waits for a full block when we stop; its buffer has a slot of the
 * snap length for each frame, so that is kept to what a jumbo frame needs: 7,200 slots in 64 MiB.
 */
const CAPTURE = ['-U', '--immediate-mode', '-n', '-s', '9216', '-B', '65536', '-w', '-']

function tcpdumpCommand(options: TcpdumpOptions): string[] {
  const direction = options.direction ? ['-Q', options.direction] : []
  const expression = options.filter ? ['--', options.filter] : []
  return ['tcpdump', ...CAPTURE, '-i', options.interface, ...direction, ...expression]
}

/** What a program writes to stderr, and when it has written something. */
function lines(stream: Readable): {
  text(): string
  until(pattern: RegExp, ended: Promise<Error>, limitMs: number): Promise<Error | undefined>
} {
  let text = ''
  stream.on('data', chunk => {
    text += String(chunk)
  })
  return {
    text: () => text,
    async until(pattern, ended, limitMs) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<Error>(resolve => {
        timer = setTimeout(
          () => resolve(new Error(`tcpdump did not listen within ${limitMs} ms: ${text.trim()}`)),
          limitMs,
        )
      })
      const seen = new Promise<undefined>(resolve => {
        stream.on('data', () => pattern.test(text) && resolve(undefined))
      })
      const outcome = await Promise.race([seen, ended, late])
      clearTimeout(timer)
      return outcome
    },
  }
}

function frames(stream: Readable, onFrame: TcpdumpOptions['onFrame']): Promise<void> {
  const parser = parse(stream)
  return new Promise((resolve, reject) => {
    parser.on('packet', ({ header, data }) =>
      onFrame({
        bytes: data,
        originalLength: header.originalLength,
        seconds: header.timestampSeconds,
        nanoseconds: header.timestampMicroseconds * 1000,
      }),
    )
    parser.on('error', reject)
    parser.on('end', resolve)
  })
}

/** "12 packets captured", "0 packets dropped by kernel". */
function counter(text: string, what: string): number | undefined {
  const match = new RegExp(`(\\d+) packets? ${what}`).exec(text)
  return match ? Number(match[1]) : undefined
}
