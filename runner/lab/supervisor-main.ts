import { explainError } from '../exit.ts'
import { type LabWanted, superviseLab } from './supervisor.ts'

/** The process behind `lab up`: what to hold comes as JSON in its one argument, readiness and errors go out over IPC. */
const wanted = JSON.parse(process.argv[2] ?? '{}') as LabWanted
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())

try {
  await superviseLab(wanted, stop.signal, status => {
    process.send?.({ ready: status })
    process.disconnect?.()
  })
} catch (error) {
  const { text, exitCode } = explainError(error)
  if (process.connected) process.send?.({ failed: text, exitCode })
  process.exitCode = exitCode
}
process.exit()
