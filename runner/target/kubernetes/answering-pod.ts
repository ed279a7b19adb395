import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { type Kubectl, KubectlFailed } from './kubectl.ts'

interface Waiting {
  resolve(answer: unknown): void
  reject(error: Error): void
}

const ANSWER_LIMIT_MS = 30_000
const LAST_WORDS = 1000

function spawned([file = '', ...words]: string[]) {
  return execa(file, words, { buffer: false, reject: false, stdin: 'pipe', forceKillAfterDelay: 500 })
}

/** `castproof cni ask` in a pod: a line of JSON for each line, as long as somebody asks. One that has ended is started anew. */
export class AnsweringPod {
  private readonly kubectl: Kubectl
  private readonly args: readonly string[]
  private readonly waiting: Waiting[] = []
  private child: ReturnType<typeof spawned> | undefined

  constructor(kubectl: Kubectl, place: readonly string[]) {
    this.kubectl = kubectl
    this.args = ['exec', '-i', ...place, '--', 'castproof', 'cni', 'ask']
  }

  ask(question: 'tables' | 'drops'): Promise<unknown> {
    const child = this.child ?? this.start()
    this.child = child
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => child.kill('SIGKILL'), ANSWER_LIMIT_MS)
      const settled =
        <Value>(settle: (value: Value) => void) =>
        (value: Value): void => {
          clearTimeout(late)
          settle(value)
        }
      this.waiting.push({ resolve: settled(resolve), reject: settled(reject) })
      child.stdin.write(`${question}\n`)
    })
  }

  private start() {
    const child = spawned(this.kubectl.words(...this.args))
    child.stdin.on('error', () => {})
    let lastWords = ''
    child.stderr.on('data', chunk => {
      lastWords = `${lastWords}${chunk}`.slice(-LAST_WORDS)
    })
    createInterface({ input: child.stdout }).on('line', line => this.hear(line))
    void child.then(({ shortMessage = 'it ended' }) => this.ended(lastWords.trim() || shortMessage))
    return child
  }

  private hear(line: string): void {
    const { answer, error } = JSON.parse(line) as { answer?: unknown; error?: string }
    const waiting = this.waiting.shift()
    if (error === undefined) waiting?.resolve(answer)
    else waiting?.reject(new KubectlFailed(this.args, error))
  }

  private ended(why: string): void {
    this.child = undefined
    for (const { reject } of this.waiting.splice(0)) reject(new KubectlFailed(this.args, why))
  }

  async close(): Promise<void> {
    const { child } = this
    child?.stdin.end()
    await child
  }
}
