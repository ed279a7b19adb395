#!/usr/bin/env node
/**
 * The CNI plugin: tells the node's agent what the runtime wants and says what the agent answers. All work is the agent's,
 * for what is attached must outlive this process. Imports nothing but Node and types: it is copied to the node alone.
 */
import { openSync, readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import type { CniAnswer, CniCall, CniError } from './protocol.ts'

const SOCKET = '/run/castproof/cni.sock'
const VERSIONS = ['0.3.1', '0.4.0', '1.0.0']
const COMMANDS = ['ADD', 'DEL', 'CHECK']
const LIMIT_MS = 30_000
/** Error codes of the CNI specification, section "Error". */
const [INCOMPATIBLE, UNKNOWN_CONTAINER, ENVIRONMENT, DECODE, AGAIN] = [1, 3, 4, 6, 11]

class Refusal extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

interface Config {
  cniVersion?: string
  name?: string
  /** For tests: another agent's socket. */
  socket?: string
}

let cniVersion = '1.0.0'

function configFrom(text: string): Config {
  try {
    return JSON.parse(text) as Config
  } catch (error) {
    throw new Refusal(DECODE, `the network configuration is no JSON: ${(error as Error).message}`)
  }
}

function variable(name: string, needed = true): string {
  const value = process.env[name] ?? ''
  if (value === '' && needed) throw new Refusal(ENVIRONMENT, `${name} is not set`)
  return value
}

function callFrom(config: Config): CniCall {
  const command = variable('CNI_COMMAND')
  if (!COMMANDS.includes(command)) throw new Refusal(ENVIRONMENT, `unknown CNI_COMMAND ${command}`)
  // The container may be gone when DEL comes.
  const netns = variable('CNI_NETNS', command !== 'DEL')
  return {
    op: 'cni',
    command: command as CniCall['command'],
    containerId: variable('CNI_CONTAINERID'),
    ifName: variable('CNI_IFNAME'),
    netns,
    pid: process.pid,
    netnsFd: command === 'DEL' ? undefined : opened(netns),
    config,
  }
}

function opened(netns: string): number {
  try {
    return openSync(netns, 'r')
  } catch (error) {
    throw new Refusal(UNKNOWN_CONTAINER, `CNI_NETNS: ${(error as Error).message}`)
  }
}

/** One JSON object a line each way. */
function ask(path: string, call: CniCall): Promise<CniAnswer> {
  return new Promise((resolve, reject) => {
    const failed = (why: string) => reject(new Refusal(AGAIN, `castproof's agent on this node: ${why} (${path})`))
    const socket = createConnection(path, () => socket.write(`${JSON.stringify(call)}\n`))
    let text = ''
    socket.setTimeout(LIMIT_MS, () => failed(`no answer within ${LIMIT_MS} ms`))
    socket.on('error', error => failed(error.message))
    socket.on('close', () => failed('closed the connection without an answer'))
    socket.setEncoding('utf8').on('data', chunk => {
      text += chunk
      if (!text.endsWith('\n')) return
      socket.removeAllListeners('close')
      socket.destroy()
      const reply = JSON.parse(text) as { ok: true; result: CniAnswer } | { ok: false; error: string }
      if (reply.ok) resolve(reply.result)
      else failed(reply.error)
    })
  })
}

async function answer(): Promise<unknown> {
  const command = variable('CNI_COMMAND')
  const config = configFrom(readFileSync(0, 'utf8'))
  cniVersion = config.cniVersion ?? '0.1.0'
  if (command === 'VERSION') return { cniVersion, supportedVersions: VERSIONS }
  if (!VERSIONS.includes(cniVersion)) throw new Refusal(INCOMPATIBLE, `CNI version ${cniVersion} is not supported`)
  const said = await ask(config.socket ?? SOCKET, callFrom(config))
  if ('error' in said)
    throw Object.assign(new Refusal(said.error.code, said.error.msg), { details: said.error.details })
  return said.result
}

try {
  const result = await answer()
  if (result !== null) process.stdout.write(JSON.stringify(result))
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  const { code, message: msg, details } = error as Refusal & { details?: string }
  const said: CniError = { cniVersion, code, msg, ...(details === undefined ? {} : { details }) }
  process.stdout.write(JSON.stringify(said))
  process.exitCode = 1
}
