import type { CompiledStream } from '../../generators/stream.ts'
import type { SendRecord, SentReport } from '../../generators/transmit/engine.ts'
import type { Endpoint, Membership, ProgramWanted } from '../endpoint.ts'
import type { ProgramEvent, RunningProgram } from '../programs-run.ts'
import type { AgentConnection } from './connection.ts'
import { replay } from './sent-columns.ts'

/** An endpoint that an agent acts for. */
export class RemoteEndpoint implements Endpoint {
  readonly pod: string
  private readonly agent: AgentConnection

  constructor(pod: string, agent: AgentConnection) {
    this.pod = pod
    this.agent = agent
  }

  async join(membership: Membership): Promise<void> {
    await this.agent.ask('join', { membership }).answer
  }

  async leave(membership: Pick<Membership, 'group' | 'hosts'>): Promise<void> {
    await this.agent.ask('leave', { membership }).answer
  }

  async send(streams: readonly CompiledStream[], record: SendRecord, stop: AbortSignal): Promise<SentReport[]> {
    const [first] = streams
    if (first === undefined) return []
    const { id, answer } = this.agent.ask('send', {
      runId: first.runId,
      runStartNs: String(first.runStartNs),
      streams: streams.map(({ spec, about }) => ({ spec, about })),
    })
    const onAbort = () => void this.agent.ask('stop', { of: id }).answer.catch(() => {})
    stop.addEventListener('abort', onAbort, { once: true })
    if (stop.aborted) onAbort()
    try {
      const { reports, sent } = await answer
      for (const [i, stream] of streams.entries()) {
        const columns = sent[i]
        if (columns) replay(stream, columns, record)
      }
      return reports
    } finally {
      stop.removeEventListener('abort', onAbort)
    }
  }

  async run(program: ProgramWanted, listener: (event: ProgramEvent) => void): Promise<RunningProgram> {
    // Its first lines may come before the answer that tells its number.
    const early: { program: number; event: ProgramEvent }[] = []
    let number: number | undefined
    let end: () => void = () => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    const hear = (event: ProgramEvent): void => {
      listener(event)
      if (event.event === 'exit') end()
    }
    this.agent.onNews(news => {
      if (news.news !== 'program') return
      const { event, text } = news
      if (number === undefined) early.push({ program: news.program, event: { event, text } })
      else if (news.program === number) hear({ event, text })
    })
    number = (await this.agent.ask('run', { program }).answer).program
    for (const { program: of, event } of early) if (of === number) hear(event)
    const running = number
    return {
      // Of no use on this machine.
      pid: undefined,
      stop: async () => {
        await this.agent.ask('stop-program', { program: running }).answer
        await ended
      },
    }
  }

  /** The agent goes on: it may act for another host of the same place. */
  async close(): Promise<void> {}
}
