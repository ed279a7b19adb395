import { randomInt } from 'node:crypto'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pinThreadAnywhere } from '../../generators/linux/libc.ts'
import { Agent } from '../agent/agent.ts'
import { LEASE_MS } from '../agent/protocol.ts'
import { EXIT } from '../exit.ts'
import type { Io } from '../io.ts'
import type { AgentOptions } from './options.ts'

const LOOK_MS = 500

/** Serves who started it through standard input and output; ends with its input, with a signal, or when nobody asks any more. */
export async function agentCommand(_options: AgentOptions, io: Io): Promise<number> {
  // Frames sent from one CPU do not overtake each other. Which one: agents of one machine do not all take the first.
  pinThreadAnywhere(randomInt(1 << 16))
  const agent = new Agent(line => void io.stdout.write(`${JSON.stringify(line)}\n`))
  let heardMs = performance.now()
  try {
    await agent.greet()
    await new Promise<void>(resolve => {
      const lines = createInterface({ input: io.stdin ?? Readable.from([]) })
      lines.on('line', line => {
        heardMs = performance.now()
        void agent.hear(JSON.parse(line))
      })
      lines.on('close', resolve)
      io.signal.addEventListener('abort', () => resolve(), { once: true })
      setInterval(() => performance.now() - heardMs > LEASE_MS && resolve(), LOOK_MS).unref()
    })
  } finally {
    await agent.close()
  }
  return EXIT.passed
}
