import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onAllCpus } from '../generators/linux/libc.ts'
import type { Answer, News, Published, Request } from './control-plane-process.ts'
import type { Datapath, DatapathHandle } from './datapath.ts'

/** What keeps the nodes' subscriber tables in step: one agent a node, all in one process that is not the caller's. */
export interface ControlPlane {
  /** Resolves when every membership change that had happened before the call has reached the other nodes' tables. */
  settled(): Promise<void>
  /** A node's agent dies and starts anew from the node's maps. */
  restart(node: string): Promise<void>
  /** What the nodes of this control plane tell the others: for those whose agents run elsewhere. */
  published(): Promise<Published[]>
  /** The nodes whose agents run elsewhere, all of them, with what they published. */
  setPeers(peers: Published[]): Promise<void>
  /** Before the datapaths are closed: its process uses their file descriptors. */
  close(): Promise<void>
}

/**
 * Starts it for datapaths that are attached; pods and groups may come and go afterwards. `onNews` is for nodes with peers whose
 * agents run elsewhere: it is called when `published` has changed since it was read.
 */
export async function startControlPlane(
  datapaths: readonly Datapath[],
  onNews: () => void = () => {},
): Promise<ControlPlane> {
  const handles = datapaths.map(datapath => datapath.handle())
  const plane = new ControlPlaneProcess(handles, onNews)
  await plane.started
  return plane
}

/**
 * A process of its own, which gets its owner's map and namespace descriptors as its standard streams 3 and up: it
 * shares neither thread nor event loop with the senders, and is what an agent on a node of its own would be.
 */
class ControlPlaneProcess implements ControlPlane {
  readonly started: Promise<unknown>
  readonly #child: ChildProcess
  readonly #exit: Promise<void>
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>()
  #last = 0
  #failure: Error | undefined
  #closed = false

  constructor(handles: readonly DatapathHandle[], onNews: () => void) {
    const { child, exit } = start(handles)
    this.#child = child
    this.started = this.#answerTo(0)
    if (child.stdout)
      createInterface({ input: child.stdout }).on('line', line => {
        const said = JSON.parse(line) as Answer | News
        if ('news' in said) onNews()
        else this.#receive(said)
      })
    child.stdin?.on('error', () => {})
    this.#exit = exit.then(why => this.#fail(new Error(`the control plane has ended: ${why}`)))
  }

  async settled(): Promise<void> {
    await this.#ask({ id: ++this.#last, do: 'settle' })
  }

  async restart(node: string): Promise<void> {
    await this.#ask({ id: ++this.#last, do: 'restart', node })
  }

  async published(): Promise<Published[]> {
    return (await this.#ask({ id: ++this.#last, do: 'published' })).published ?? []
  }

  async setPeers(peers: Published[]): Promise<void> {
    await this.#ask({ id: ++this.#last, do: 'peers', peers })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#child.stdin?.end()
    await this.#exit
  }

  async #ask(request: Request): Promise<Answer> {
    if (this.#failure) throw this.#failure
    const answer = this.#answerTo(request.id)
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`)
    return await answer
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

const FIRST_PASSED_FD = 3

/**
 * Descriptors of this process become 3, 4, … of the child; the handles it gets speak of those. Not by execa, whose types
 * know no descriptor beyond 2.
 */
function start(handles: readonly DatapathHandle[]): { child: ChildProcess; exit: Promise<string> } {
  const passed: number[] = []
  const pass = (fd: number): number => FIRST_PASSED_FD + passed.push(fd) - 1
  const renumbered = handles.map(handle => renumber(handle, pass))
  // The owner may keep to one CPU, to send from; an agent that waited for that CPU would be late.
  const child = onAllCpus(() =>
    spawn(process.execPath, [...loader(), processFile(), JSON.stringify(renumbered)], {
      stdio: ['pipe', 'pipe', 'inherit', ...passed],
    }),
  )
  const exit = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message))
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  return { child, exit }
}

function renumber(handle: DatapathHandle, pass: (fd: number) => number): DatapathHandle {
  const maps = { ...handle.maps }
  for (const name of Object.keys(maps) as (keyof typeof maps)[]) maps[name] = pass(maps[name])
  return {
    ...handle,
    commands: { program: pass(handle.commands.program), slots: pass(handle.commands.slots) },
    maps,
    ...(handle.netnsFd === undefined ? {} : { netnsFd: pass(handle.netnsFd) }),
  }
}

/** The TypeScript source needs its loader in the child too. */
function loader(): string[] {
  return import.meta.url.endsWith('.ts') ? ['--import', import.meta.resolve('tsx/esm')] : []
}

function processFile(): string {
  return fileURLToPath(
    new URL(`./control-plane-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  )
}
