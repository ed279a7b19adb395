import { execa } from 'execa'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'

/** Printed, and flushed, by `ip` when it has come to it: everything before is done. So a run must not show `lo` itself. */
const DONE_COMMAND = 'link show dev lo'
const DONE_LINE = /^1: lo:.*\n +link\/.*\n/m
const LIMIT_MS = 60_000

/**
 * iproute2 that stays: `ip -batch -` in a namespace, which reads lines as they come. Where starting a process costs a second, as in an
 * emulated machine, a case would spend most of its time on that. It ends with its standard input, and so with this process.
 */
export class IpSession {
  private readonly ns: Netns
  private running: Running | undefined
  private queue: Promise<unknown> = Promise.resolve()

  constructor(ns: Netns) {
    this.ns = ns
  }

  /** What the lines printed. Rejects with what `ip` says of the line that it does not like; later lines are not tried then. */
  run(lines: readonly string[]): Promise<string> {
    const turn = this.queue.then(() => (lines.length === 0 ? '' : this.now(lines)))
    this.queue = turn.catch(() => {})
    return turn
  }

  private async now(lines: readonly string[]): Promise<string> {
    this.running ??= start(this.ns)
    const { child, output } = this.running
    const { linesBefore } = this.running
    this.running.linesBefore += lines.length + 1
    child.stdin.write(`${[...lines, DONE_COMMAND].join('\n')}\n`)
    const printed = await Promise.race([output.next(), ended(child)]).finally(() => output.stopWaiting())
    if (typeof printed === 'string') return printed.replace(DONE_LINE, '')
    this.running = undefined
    // `ip xfrm state list` ends the whole process when it is done.
    if (printed.exitCode === 0) return output.printed
    throw lineError(printed.why, lines, linesBefore)
  }

  async close(): Promise<void> {
    const running = this.running
    this.running = undefined
    running?.child.stdin.end()
    await running?.child
  }
}

type Child = ReturnType<typeof spawnIp>

interface Running {
  child: Child
  output: Output
  /** Lines it has had: it counts from its start. */
  linesBefore: number
}

function spawnIp() {
  return execa('ip', ['-batch', '-'], { stdin: 'pipe', reject: false, buffer: { stdout: false, stderr: true } })
}

function start(ns: Netns): Running {
  const child = inNetns(ns, spawnIp)
  // A line that fails ends it, perhaps before the rest is written: its end says why.
  child.stdin.on('error', () => {})
  return { child, output: new Output(child), linesBefore: 0 }
}

/** What has been printed since the last command, and who waits for its end. */
class Output {
  private text = ''
  private timer: NodeJS.Timeout | undefined
  private waiting: ((text: string) => void) | undefined

  constructor(child: Child) {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.text += text
      if (DONE_LINE.test(this.text)) this.waiting?.(this.text)
    })
  }

  get printed(): string {
    return this.text
  }

  /** All up to the end of the next run. */
  next(): Promise<string> {
    this.text = ''
    return new Promise((resolve, reject) => {
      this.timer = setTimeout(() => reject(new Error(`ip was not done after ${LIMIT_MS} ms`)), LIMIT_MS)
      this.waiting = resolve
    })
  }

  stopWaiting(): void {
    clearTimeout(this.timer)
    this.waiting = undefined
  }
}

function lineError(why: string, lines: readonly string[], linesBefore: number): Error {
  const line = lines[Number(/Command failed -:(\d+)/.exec(why)?.[1]) - 1 - linesBefore]
  const said = why.replace(/\n?Command failed -:\d+/, '')
  return new Error(line === undefined ? said : `${said} in: ${line}`)
}

async function ended(child: Child): Promise<{ exitCode: number | undefined; why: string }> {
  const { stderr, exitCode } = await child
  return { exitCode, why: stderr.trim() || `ip has ended with exit code ${exitCode}` }
}
