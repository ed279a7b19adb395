import { createInterface } from 'node:readline'
import { runAgent } from '../cni/agent.ts'
import { CNI_LAB, type NodeRequest } from '../cni/protocol.ts'
import { faultNames } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { ask } from '../lab/protocol.ts'
import { UserError } from '../suite/errors.ts'
import type { CniOptions } from './options.ts'

/** The reference datapath as a cluster's network: the node's agent, and what may be asked of it. */
export async function cniCommand(options: CniOptions, io: Io): Promise<number> {
  switch (options.action) {
    case 'agent':
      await runAgent({ nodeName: nodeName(options, io), faults: faultNames(options.fault), places: options }, io)
      return 0
    case 'faults':
      await ask<null, NodeRequest>(CNI_LAB, { op: 'faults', faults: faultNames(options.fault) })
      printLine(io, options.fault.length === 0 ? 'no fault' : options.fault.join(' '))
      return 0
    case 'ask':
      return answerLines(io)
    case 'restart':
      await ask<null, NodeRequest>(CNI_LAB, { op: 'restart' })
      return 0
  }
}

/** A table asked for by a process of its own costs the node a third of a second: whoever looks often keeps this one. */
async function answerLines(io: Io): Promise<number> {
  const { stdin } = io
  if (!stdin) throw new UserError('no-input', 'cni ask reads what to ask from its standard input')
  for await (const line of createInterface({ input: stdin, signal: io.signal })) {
    const op = QUESTIONS.find(one => one === line.trim())
    const reply = op
      ? await ask(CNI_LAB, { op })
          .then(answer => ({ answer }))
          .catch((error: Error) => ({ error: error.message }))
      : { error: `there are ${QUESTIONS.join(', ')}` }
    printLine(io, JSON.stringify(reply))
  }
  return 0
}

const QUESTIONS = ['tables', 'drops'] as const

function nodeName({ node }: CniOptions, io: Io): string {
  const name = node ?? io.env['NODE_NAME']
  if (name) return name
  throw new UserError('node-name', 'which node is this?', { hint: '--node NAME, or NODE_NAME in the environment' })
}
