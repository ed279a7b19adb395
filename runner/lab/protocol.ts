import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { createInterface, type Interface } from 'node:readline'
import type { SiteMap } from '../check/check.ts'
import type { GroupTable, XfrmState } from '../observation.ts'
import { UserError } from '../suite/errors.ts'
import { socketPath } from './registry.ts'

/** One JSON object a line each way over the lab's socket. */
export type LabRequest =
  | { op: 'status' }
  | { op: 'tables' | 'drops' | 'encryption' }
  | { op: 'enable' | 'disable'; group: number; node?: string }
  | { op: 'down' }

export type LabReply = { ok: true; result: unknown } | { ok: false; error: string }

export interface LabStatus {
  id: string
  target: string
  faults: string[]
  site: SiteMap
  /** Pod or node → name below /run/netns. */
  namespaces: Record<string, string>
}

/** What XFRM of each node says of itself; none where nothing is encrypted. */
export type NodeEncryption = { node: string; states: XfrmState[]; errors: Record<string, number> }[]
export type NodeTables = { node: string; groups: GroupTable[] }[]
export type NodeDrops = { node: string; reasons: Record<string, number> }[]

const REPLY_LIMIT_MS = 10_000

/** Asks a lab's supervisor; throws what it answers as an error. */
export async function ask<Result, Request = LabRequest>(id: string, request: Request): Promise<Result> {
  const socket = createConnection(socketPath(id))
  try {
    const reply = await exchange(socket, request)
    if (!reply.ok) throw new Error(reply.error)
    return reply.result as Result
  } finally {
    socket.destroy()
  }
}

function exchange(socket: Socket, request: unknown): Promise<LabReply> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(REPLY_LIMIT_MS, () => reject(new Error(`the lab did not answer within ${REPLY_LIMIT_MS} ms`)))
    const failed = (error: NodeJS.ErrnoException): void => reject(isGone(error) ? labIsGone() : error)
    socket.once('error', failed)
    socket.once('close', () => reject(new Error('the lab closed the connection without an answer')))
    linesOf(socket, failed).once('line', line => resolve(JSON.parse(line) as LabReply))
    socket.write(`${JSON.stringify(request)}\n`)
  })
}

/** readline emits the errors of its input once more, and nobody else listens there. */
function linesOf(socket: Socket, failed: (error: Error) => void): Interface {
  return createInterface({ input: socket }).on('error', failed)
}

/** Between finding a lab and asking it, it may have been taken down. */
function isGone(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
}

function labIsGone(): UserError {
  return new UserError('no-lab', 'nobody answers for the lab: it is still coming up, or has just gone down', {
    hint: 'castproof lab status',
  })
}

/** Answers requests until closed; one that fails is answered, not fatal. */
export function serve<Request = LabRequest>(
  id: string,
  answer: (request: Request) => Promise<unknown>,
): Promise<Server> {
  const server = createServer(socket => {
    socket.on('error', () => socket.destroy())
    linesOf(socket, () => socket.destroy()).on('line', line => {
      void reply(line, answer).then(text => socket.writable && socket.write(`${JSON.stringify(text)}\n`))
    })
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath(id), () => resolve(server))
  })
}

async function reply<Request>(line: string, answer: (request: Request) => Promise<unknown>): Promise<LabReply> {
  try {
    return { ok: true, result: (await answer(JSON.parse(line) as Request)) ?? null }
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) }
  }
}
