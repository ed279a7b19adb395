#!/usr/bin/env node
import { setMaxListeners } from 'node:events'
import { Interrupted } from './io.ts'

const stop = new AbortController()
// One for each wait under way: as many as cases run side by side, and no leak.
setMaxListeners(0, stop.signal)
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // The second time asks for no teardown: what a run made is unnamed and dies with this process.
    if (stop.signal.aborted) process.exit(new Interrupted(name).exitCode)
    stop.abort(new Interrupted(name))
  })
}
for (const stream of [process.stdout, process.stderr]) {
  // `castproof list | head`: the reader has read enough.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
// Loaded once signals are heard.
const { cli } = await import('./cli.ts')
const { stdin, stdout, stderr, env } = process
const exitCode = await cli(process.argv.slice(2), {
  stdin,
  stdout,
  stderr,
  env,
  cwd: process.cwd(),
  signal: stop.signal,
})
// A pipe takes 64 KiB at once; what it has not taken yet would go with the process.
await Promise.all([stdout, stderr].map(stream => new Promise(resolve => stream.write('', resolve))))
process.exit(exitCode)
