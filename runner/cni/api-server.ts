import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Unsupported } from '../unsupported.ts'

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const REQUEST_LIMIT_MS = 10_000
/** The server ends a watch after this long, and we list anew. */
const WATCH_SECONDS = 300
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [200, 5_000]

export interface Resource {
  metadata: { name: string; resourceVersion?: string }
}

export class ApiError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(`the API server says ${status}: ${message}`)
    this.name = 'ApiError'
    this.status = status
  }
}

/** The API server as a pod with a service account sees it: the few requests that an agent makes. */
export class ApiServer {
  readonly #host: string
  readonly #port: string
  readonly #agent: Agent

  constructor(env: NodeJS.ProcessEnv = process.env) {
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
    if (!host || !port)
      throw new Unsupported({
        feature: 'the API server of a cluster',
        needs: 'a pod with a service account',
        found: 'KUBERNETES_SERVICE_HOST is not set',
        remedy: 'deploy/reference-cni shows how the agent is run',
      })
    this.#host = host
    this.#port = port
    this.#agent = new Agent({ keepAlive: true, ca: readFileSync(`${ACCOUNT}/ca.crt`) })
  }

  async get<Kind extends Resource>(path: string): Promise<Kind> {
    return (await this.#json('GET', path)) as Kind
  }

  /** Server-side apply: makes it, or makes ours of it what `resource` says. */
  async apply(path: string, resource: object): Promise<void> {
    await this.#json('PATCH', `${path}?fieldManager=castproof&force=true`, resource)
  }

  /** Gone already is as good. */
  async delete(path: string): Promise<void> {
    await this.#json('DELETE', path).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    })
  }

  /**
   * Calls `changed` with all resources of a collection, first and after each change, until stopped. A server that goes
   * away is waited for; `trouble` is told why.
   */
  async watch<Kind extends Resource>(
    path: string,
    changed: (all: Kind[]) => Promise<void>,
    trouble: (error: Error) => void,
    stop: AbortSignal,
  ): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    while (!stop.aborted) {
      try {
        const list = (await this.#json('GET', path)) as { metadata: { resourceVersion: string }; items: Kind[] }
        const all = new Map(list.items.map(item => [item.metadata.name, item]))
        await changed([...all.values()])
        pauseMs = FIRST_PAUSE_MS
        await this.#follow(`${path}?watch=1&resourceVersion=${list.metadata.resourceVersion}`, all, changed, stop)
      } catch (error) {
        if (stop.aborted) return
        trouble(error as Error)
        await sleep(pauseMs, undefined, { signal: stop }).catch(() => {})
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      }
    }
  }

  async #follow<Kind extends Resource>(
    path: string,
    all: Map<string, Kind>,
    changed: (all: Kind[]) => Promise<void>,
    stop: AbortSignal,
  ): Promise<void> {
    const limitMs = (WATCH_SECONDS + 30) * 1000
    const response = await this.#send('GET', `${path}&timeoutSeconds=${WATCH_SECONDS}`, undefined, limitMs, stop)
    if (response.statusCode !== 200) throw new ApiError(response.statusCode ?? 0, await textOf(response))
    for await (const line of createInterface({ input: response })) {
      const { type, object } = JSON.parse(line) as { type: string; object: Kind & { code?: number; message?: string } }
      if (type === 'ERROR') throw new ApiError(object.code ?? 0, object.message ?? 'the watch has ended')
      if (type === 'DELETED') all.delete(object.metadata.name)
      else all.set(object.metadata.name, object)
      await changed([...all.values()])
    }
  }

  async #json(method: string, path: string, body?: object): Promise<unknown> {
    const response = await this.#send(method, path, body, REQUEST_LIMIT_MS)
    const text = await textOf(response)
    const { statusCode = 0 } = response
    if (statusCode < 200 || statusCode > 299) throw new ApiError(statusCode, messageOf(text))
    return JSON.parse(text)
  }

  #send(
    method: string,
    path: string,
    body: object | undefined,
    limitMs: number,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const text = body === undefined ? '' : JSON.stringify(body)
    // Read each time: the kubelet renews it.
    const headers: Record<string, string> = { authorization: `Bearer ${readFileSync(`${ACCOUNT}/token`, 'utf8')}` }
    if (text !== '') headers['content-type'] = 'application/apply-patch+yaml'
    const options = { host: this.#host, port: this.#port, agent: this.#agent, method, path, headers, timeout: limitMs }
    return new Promise((resolve, reject) => {
      const sent = request({ ...options, ...(signal ? { signal } : {}) }, resolve)
      sent.on('error', reject)
      sent.on('timeout', () => sent.destroy(new Error(`the API server did not answer within ${limitMs} ms`)))
      sent.end(text)
    })
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return text
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text
  } catch {
    return text
  }
}
