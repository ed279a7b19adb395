import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { Unsupported } from '../../unsupported.ts'

const LIMIT_MS = 30_000
/** An API server that has answered once may be starting anew: it is waited for so long. */
const SILENCE_LIMIT_MS = 60_000
const ASK_AGAIN_MS = 1000

/** What `--target kubernetes:…` names: a kubeconfig file, or a context; neither: kubectl's own rules. */
export function kubectlFor(given: string | undefined): Kubectl {
  if (given === undefined || given === '') return new Kubectl([])
  return new Kubectl(existsSync(given) ? ['--kubeconfig', given] : ['--context', given])
}

/** An object of the API, as far as it is looked at here. */
export interface KubeObject {
  kind?: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    creationTimestamp?: string
  }
}

interface RunOptions {
  input?: string
  limitMs?: number
}

/** kubectl against one cluster: each call is a process with a time limit, and an error that says what to do. */
export class Kubectl {
  private readonly flags: readonly string[]
  private hasAnswered = false
  private silentSinceMs: number | undefined

  constructor(flags: readonly string[]) {
    this.flags = flags
  }

  /** Words of a command line, for those who start it themselves. */
  words(...args: readonly string[]): string[] {
    return ['kubectl', ...this.flags, ...args]
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<string> {
    for (;;) {
      try {
        const said = await this.runOnce(args, options)
        this.hasAnswered = true
        this.silentSinceMs = undefined
        return said
      } catch (error) {
        if (!this.hasAnswered || !isUnreachable(error)) throw error
        this.silentSinceMs ??= performance.now()
        if (performance.now() - this.silentSinceMs > SILENCE_LIMIT_MS) throw error
        await delay(ASK_AGAIN_MS)
      }
    }
  }

  private async runOnce(args: readonly string[], options: RunOptions): Promise<string> {
    const { input, limitMs = LIMIT_MS } = options
    const [file = '', ...rest] = this.words(...args)
    const result = await execa(file, rest, {
      reject: false,
      timeout: limitMs,
      maxBuffer: 256 << 20,
      ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    })
    if (result.code === 'ENOENT') throw missing()
    if (!result.failed) return result.stdout
    const said = result.stderr.trim() || result.shortMessage || 'kubectl failed'
    throw failureOf(args, result.timedOut ? `no answer within ${limitMs / 1000} s: ${said}` : said)
  }

  async list<Item extends KubeObject>(kind: string, args: readonly string[] = []): Promise<Item[]> {
    const text = await this.run(['get', kind, ...args, '-o', 'json'])
    return (JSON.parse(text) as { items: Item[] }).items
  }

  /** Undefined where there is none, or no such kind. */
  async find<Item extends KubeObject>(
    kind: string,
    name: string,
    args: readonly string[] = [],
  ): Promise<Item | undefined> {
    try {
      return JSON.parse(await this.run(['get', kind, name, ...args, '-o', 'json'])) as Item
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
  }

  async apply(objects: readonly object[]): Promise<void> {
    await this.run(['apply', '-f', '-'], { input: listOf(objects) })
  }

  /** What is there already is an error. */
  async create(objects: readonly object[]): Promise<void> {
    await this.run(['create', '-f', '-'], { input: listOf(objects) })
  }
}

function listOf(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
}

/** A call that kubectl did not carry out, and what it said. */
export class KubectlFailed extends Unsupported {
  readonly said: string

  constructor(args: readonly string[], said: string) {
    super({
      feature: 'target kubernetes',
      needs: `kubectl ${args.slice(0, 3).join(' ')}`,
      found: said.split('\n').slice(-3).join('; '),
    })
    this.said = said
  }
}

export function isAbsent(error: unknown): boolean {
  return error instanceof KubectlFailed && /\(NotFound\)|doesn't have a resource type|not found/.test(error.said)
}

export function isTaken(error: unknown): boolean {
  return error instanceof KubectlFailed && error.said.includes('(AlreadyExists)')
}

function isUnreachable(error: unknown): boolean {
  return error instanceof Unsupported && error.message.includes(REACHABLE)
}

const REACHABLE = "an answer of the cluster's API server"
const UNREACHABLE =
  /Unable to connect to the server|connection refused|was refused|i\/o timeout|no such host|TLS handshake timeout|EOF$|no answer within|ServiceUnavailable|etcdserver/m

export function failureOf(args: readonly string[], said: string): Error {
  const feature = 'target kubernetes'
  if (/\(Forbidden\)/.test(said))
    return new Unsupported({
      feature,
      needs: `the right to ${args[0]} ${args[1]}`,
      found: said,
      remedy: 'docs/kubernetes.md lists the rights',
    })
  if (/\(Unauthorized\)|You must be logged in/.test(said))
    return new Unsupported({
      feature,
      needs: 'credentials that the API server takes',
      found: said,
      remedy: 'kubectl get nodes should work',
    })
  if (
    /context .* does not exist|no context exists|context was not found|stat .*: no such file|invalid configuration/.test(
      said,
    )
  )
    return new Unsupported({
      feature,
      needs: 'a context of the kubeconfig, or a kubeconfig',
      found: said,
      remedy: 'kubectl config get-contexts',
    })
  if (UNREACHABLE.test(said))
    return new Unsupported({ feature, needs: REACHABLE, found: said, remedy: 'kubectl get nodes should work' })
  return new KubectlFailed(args, said)
}

function missing(): Unsupported {
  return new Unsupported({
    feature: 'target kubernetes',
    needs: 'the program kubectl',
    found: 'none on the PATH',
    remedy: 'install kubectl (https://kubernetes.io/docs/tasks/tools/)',
  })
}
