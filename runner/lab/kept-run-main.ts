import { once } from 'node:events'
import { Writable } from 'node:stream'
import { Interrupted, type Io } from '../io.ts'
import type { KeptRunMessage, KeptRunWanted } from './kept-run.ts'

/** The process of `run --keep`: runs, reports through its starter, then holds the last stage's site as a lab. */
const wanted = JSON.parse(process.argv[2] ?? '{}') as KeptRunWanted
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Interrupted(name)))
process.on('SIGHUP', () => stop.abort(new Interrupted('SIGTERM')))
// Until the run is told, its starter's end is ours.
const orphaned = (): void => stop.abort(new Interrupted('SIGTERM'))
process.once('disconnect', orphaned)
const disconnected = once(process, 'disconnect')
const heard = once(process, 'message')

function tell(message: KeptRunMessage): Promise<unknown> {
  if (!process.connected) return Promise.resolve()
  const sent = new Promise<void>(resolve => process.send?.(message, undefined, {}, () => resolve()))
  return Promise.race([sent, disconnected])
}

function through(name: 'stdout' | 'stderr'): Writable {
  const write = (chunk: Buffer, _encoding: unknown, done: () => void): void => {
    void tell(name === 'stdout' ? { stdout: String(chunk) } : { stderr: String(chunk) }).then(done)
  }
  return new Writable({ write })
}

const { KeptSite } = await import('./kept-site.ts')
const { runWithSite } = await import('../commands/run.ts')
const { explainError } = await import('../exit.ts')
const stdout = Object.assign(through('stdout'), wanted.screen)
const io: Io = {
  stdin: process.stdin,
  stdout,
  stderr: through('stderr'),
  env: process.env,
  cwd: wanted.cwd,
  signal: stop.signal,
}
const kept = new KeptSite(wanted.id, wanted.options.fault, stop.signal)
try {
  const exitCode = await runWithSite(wanted.options, io, kept)
  const held = await kept.hold(async () => {
    io.stdout.write(
      `lab ${wanted.id} is up: castproof lab status; castproof lab down --lab ${wanted.id} takes it down\n`,
    )
    await finish(exitCode)
  })
  if (!held) await finish(exitCode)
} catch (error) {
  const { text, exitCode } = explainError(error)
  io.stderr.write(`${text}\n`)
  await kept.close()
  await finish(exitCode)
} finally {
  await kept.close()
}
process.exit()

/** The last word to the starter, which answers and ends: one that was killed before it knew is still the end of all. */
async function finish(exitCode: number): Promise<void> {
  await Promise.all([io.stdout, io.stderr].map(stream => new Promise(resolve => stream.end(resolve))))
  await tell({ exitCode })
  await Promise.race([heard, disconnected])
  if (!process.connected) return
  process.off('disconnect', orphaned)
  process.disconnect()
}
