import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onAllCpus } from '../generators/linux/libc.ts'
import type { DatapathHandle } from './datapath.ts'

export interface Answered {
  id: number
  error?: string
}

/** Of each member of a union. */
type WithoutId<Request> = Request extends unknown ? Omit<Request, 'id'> : never

const FIRST_PASSED_FD = 3

/** Gives a descriptor of this process its number in the child. */
export type Pass = (fd: number) => number

/**
 * A process of its own, which gets its owner's map and namespace descriptors as its standard streams 3 and up: it
 * shares neither thread nor event loop with the senders, and is what an agent on a node of its own would be. Requests and answers
 * are one JSON object a line; it says `{ id: 0 }` once it is ready, and ends with its owner.
 */
export class MapsProcess<Request extends { id: number }, Answer extends Answered> {
  readonly started: Promise<Answer>
  readonly #child: ChildProcess
  readonly #what: string
  readonly #exit: Promise<void>
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>()
  #last = 0
  #failure: Error | undefined
  #closed = false

  /** `file` is a module beside this one, `configOf` what it gets as its argument; lines without an id go to `onNews`. */
  constructor(file: string, what: string, configOf: (pass: Pass) => unknown, onNews: () => void = () => {}) {
    this.#what = what
    const { child, exit } = start(file, configOf)
    this.#child = child
    this.started = this.#answerTo(0)
    if (child.stdout)
      createInterface({ input: child.stdout }).on('line', line => {
        const said = JSON.parse(line) as Answer | { news: true }
        if ('news' in said) onNews()
        else this.#receive(said)
      })
    child.stdin?.on('error', () => {})
    this.#exit = exit.then(why => this.#fail(new Error(`the ${this.#what} has ended: ${why}`)))
  }

  async ask(request: WithoutId<Request>): Promise<Answer> {
    if (this.#failure) throw this.#failure
    const id = ++this.#last
    const answer = this.#answerTo(id)
    this.#child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`)
    return await answer
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#child.stdin?.end()
    await this.#exit
  }

  #answerTo(id: number): Promise<Answer> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  #receive(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (answer.error === undefined) waiting?.resolve(answer)
    else waiting?.reject(new Error(answer.error))
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}

/** Descriptors of this process become 3, 4, … of the child. Not by execa, whose types know no descriptor beyond 2. */
function start(file: string, configOf: (pass: Pass) => unknown): { child: ChildProcess; exit: Promise<string> } {
  const passed: number[] = []
  const config = configOf(fd => FIRST_PASSED_FD + passed.push(fd) - 1)
  // The owner may keep to one CPU, to send from; an agent that waited for that CPU would be late.
  const child = onAllCpus(() =>
    spawn(process.execPath, [...loader(), fileBeside(file), JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit', ...passed],
    }),
  )
  const exit = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message))
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  return { child, exit }
}

/** The TypeScript source needs its loader in the child too. */
function loader(): string[] {
  return import.meta.url.endsWith('.ts') ? ['--import', import.meta.resolve('tsx/esm')] : []
}

function fileBeside(name: string): string {
  return fileURLToPath(new URL(`./${name}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))
}

/** A record of descriptors with their numbers in the child. */
export function passAll<Maps extends { [name in keyof Maps]: number }>(maps: Maps, pass: Pass): Maps {
  return Object.fromEntries(Object.entries<number>(maps).map(([name, fd]) => [name, pass(fd)])) as Maps
}

export function passDatapath(handle: DatapathHandle, pass: Pass): DatapathHandle {
  return {
    ...handle,
    commands: { program: pass(handle.commands.program), slots: pass(handle.commands.slots) },
    maps: passAll(handle.maps, pass),
    ...(handle.netnsFd === undefined ? {} : { netnsFd: pass(handle.netnsFd) }),
  }
}
