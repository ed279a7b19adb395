import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { sessionMessages } from '../captures/testdata/flow-mutations.ts'
import { writeSession } from '../captures/testdata/flow-session.ts'

/**
 * Mutated NetFlow and IPFIX messages at full speed until the time is up: no exception, no hang, flat memory. A session is a decoder
 * and the messages that a seed makes; one that fails is saved in captures/testdata/fuzz/, which the unit tests replay.
 *
 *   npm run fuzz -- [--seconds N] [--seed N]
 */
const FOLDER = fileURLToPath(new URL('../captures/testdata/fuzz', import.meta.url))
const HANG_MS = 60_000
/** A leak ends the process here, long before the machine. */
const HEAP_MIB = 192
const TELL_MS = 10_000

/** What the process that decodes tells after each session. */
export interface SessionReport {
  messages: number
  records: number
  events: number
  heapMib: number
  rssMib: number
  trouble?: string
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } } })
const [seconds, seed] = [Number(values.seconds), Number(values.seed ?? Date.now() % 0x1_0000_0000)]
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error('npm run fuzz -- [--seconds N] [--seed N]')
  process.exit(2)
}
console.log(`fuzz: flow decoder for ${seconds} s; again with --seed ${seed}`)
const child = fork(fileURLToPath(new URL('./fuzz-worker.ts', import.meta.url)), {
  execArgv: ['--import', 'tsx', `--max-old-space-size=${HEAP_MIB}`],
})
process.on('exit', () => child.kill('SIGKILL'))
await run(child)
child.kill('SIGKILL')
console.log(`fuzz: no find, seed ${seed}`)

async function run(worker: ChildProcess): Promise<void> {
  const startedMs = performance.now()
  const endMs = startedMs + seconds * 1000
  const sum = { sessions: 0, messages: 0, records: 0, events: 0 }
  for (let toldMs = startedMs, session = seed; performance.now() < endMs; session = (session + 1) >>> 0) {
    const report = await oneSession(worker, session)
    if (report.trouble !== undefined) found(session, report.trouble)
    sum.sessions++
    for (const name of ['messages', 'records', 'events'] as const) sum[name] += report[name]
    const now = performance.now()
    if (now - toldMs < TELL_MS && now < endMs) continue
    toldMs = now
    const rate = Math.round((sum.messages / (now - startedMs)) * 1000)
    const memory = `heap ${report.heapMib} MiB, RSS ${report.rssMib} MiB`
    const counts = `${sum.messages} messages (${rate}/s), ${sum.sessions} sessions, ${sum.records} records, ${sum.events} events`
    console.log(`${Math.round((now - startedMs) / 1000)} s: ${counts}; ${memory}`)
  }
}

/** Its end or its silence is a find like any other. */
function oneSession(worker: ChildProcess, session: number): Promise<SessionReport> {
  return new Promise(resolve => {
    const give = (report: SessionReport) => {
      clearTimeout(timer)
      worker.removeAllListeners('message')
      worker.removeAllListeners('exit')
      resolve(report)
    }
    const nothing = { messages: 0, records: 0, events: 0, heapMib: 0, rssMib: 0 }
    const timer = setTimeout(() => give({ ...nothing, trouble: `no end after ${HANG_MS} ms` }), HANG_MS)
    worker.once('message', report => give(report as SessionReport))
    worker.once('exit', (code, signal) => {
      // Somebody outside stopped it: no word about the session.
      if (signal === 'SIGTERM' || signal === 'SIGINT') process.exit(130)
      give({ ...nothing, trouble: `the process ended with ${signal ?? code}` })
    })
    worker.send(session)
  })
}

function found(session: number, trouble: string): never {
  const file = writeSession([...sessionMessages(session)])
  const name = `${createHash('sha256').update(file).digest('hex').slice(0, 16)}.bin`
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, name), file)
  console.error(`fuzz: FIND in session ${session}, saved as captures/testdata/fuzz/${name}\n${trouble}`)
  process.exit(1)
}
