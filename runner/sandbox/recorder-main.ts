import { setClock } from '../../generators/linux/libc.ts'
import { explainError } from '../exit.ts'
import { Interrupted } from '../io.ts'
import { keepSenderOnOneCpu, type Listener } from '../stage-record.ts'
import { HostSandbox, KeptSites } from './host.ts'
import { messages, type Order, writeMessage } from './protocol.ts'

/** The guest's side of vm.ts: records one stage after the other on its own kernel, until its input ends. */
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Interrupted(name)))

const listener: Listener = {
  progress: {
    stageReady: data => writeMessage(process.stdout, { event: 'stageReady', data }),
    caseStarted: data => writeMessage(process.stdout, { event: 'caseStarted', data }),
    caseStep: data => writeMessage(process.stdout, { event: 'caseStep', data }),
    caseRan: data => writeMessage(process.stdout, { event: 'caseRan', data }),
  },
  warn: warning => writeMessage(process.stdout, { warning }),
  bug: (bug, stack) => writeMessage(process.stdout, { bug, stack }),
}

keepSenderOnOneCpu()
const kept = new KeptSites()
const sandbox = new HostSandbox(process.argv.includes('--keep-sites') ? kept.siteOf : undefined)
try {
  for await (const { job, nowNs } of messages<Order>(process.stdin)) {
    setClock(BigInt(nowNs))
    writeMessage(process.stdout, { outcome: await sandbox.record(job, listener, stop.signal) })
  }
} catch (error) {
  const { text, exitCode } = explainError(stop.signal.aborted ? stop.signal.reason : error)
  writeMessage(process.stdout, { error: text, exitCode })
} finally {
  await kept.close()
}
process.exit()
