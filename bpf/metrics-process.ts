import { createServer, type Server } from 'node:http'
import { createInterface } from 'node:readline'
import { OWN_NETNS } from '../generators/linux/netns.ts'
import { openTcpListener } from '../generators/linux/tcp-socket.ts'
import { CONTENT_TYPE } from './exposition.ts'
import { type MetricsHandle, NodeMetrics } from './node-metrics.ts'
import type { PodName } from './socket-families.ts'

/** What the owner asks, one JSON object a line on standard input; each is answered once on standard output. */
export type MetricsRequest = { id: number; do: 'pods'; pods: PodName[] } | { id: number; do: 'restart'; node: string }

export interface MetricsAnswer {
  id: number
  error?: string
}

export interface MetricsConfig {
  nodes: MetricsHandle[]
  port: number
}

/** One HTTP server a node, in the node's own namespace: an agent tells of its own node alone. */
class Endpoints {
  readonly #config: MetricsConfig
  readonly #servers = new Map<string, Server>()
  #pods: readonly PodName[] = []

  constructor(config: MetricsConfig) {
    this.#config = config
  }

  async start(): Promise<void> {
    for (const node of this.#config.nodes) await this.#serve(node, 'first')
  }

  async answer(request: MetricsRequest): Promise<void> {
    if (request.do === 'pods') this.#pods = request.pods
    else await this.#restart(request.node)
  }

  async #restart(name: string): Promise<void> {
    const node = this.#config.nodes.find(({ datapath }) => datapath.name === name)
    if (!node) throw new RangeError(`no node ${name}`)
    const server = this.#servers.get(name)
    await new Promise(resolve => {
      server?.close(resolve)
      server?.closeAllConnections()
    })
    await this.#serve(node, 'again')
  }

  async #serve(node: MetricsHandle, start: 'first' | 'again'): Promise<void> {
    const { name, netnsFd } = node.datapath
    const others = this.#config.nodes.filter(other => other !== node)
    const metrics = new NodeMetrics(node, others, start)
    const server = createServer((request, response) => {
      if (request.method !== 'GET' || request.url !== '/metrics') response.writeHead(404).end('see /metrics\n')
      else
        metrics.text(this.#pods).then(
          text => response.writeHead(200, { 'Content-Type': CONTENT_TYPE }).end(text),
          error => response.writeHead(500).end(`${error}\n`),
        )
    })
    this.#servers.set(name, server)
    const listening = openTcpListener(
      this.#config.port,
      netnsFd === undefined ? OWN_NETNS : { fd: netnsFd, path: '', close() {} },
    )
    await new Promise<void>(resolve => server.listen({ fd: listening }, resolve))
  }
}

function say(answer: MetricsAnswer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

// The owner decides when it ends: Ctrl-C goes to the whole foreground group.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})

const endpoints = new Endpoints(JSON.parse(process.argv[2] ?? '') as MetricsConfig)
await endpoints.start()
say({ id: 0 })
const lines = createInterface({ input: process.stdin })
for await (const line of lines) {
  const request = JSON.parse(line) as MetricsRequest
  await endpoints.answer(request).then(
    () => say({ id: request.id }),
    error => say({ id: request.id, error: String(error) }),
  )
}
// The end of the input is the end of the owner, however it ended.
process.exit()
