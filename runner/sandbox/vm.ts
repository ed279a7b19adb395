import type { Writable } from 'node:stream'
import { realtimeNs } from '../../generators/linux/libc.ts'
import { inEmulation } from '../patience.ts'
import type { Listener, StageJob, StageOutcome } from '../stage-record.ts'
import { type Accelerator, accelerator } from './accelerator.ts'
import { boot, type Guest } from './boot.ts'
import { bundled, type Layer, nodeWords, ROOT } from './code.ts'
import { guestEnvironment } from './environment.ts'
import { GuestError } from './guest-error.ts'
import { type Kernel, kernelNamed } from './kernel.ts'
import { messages, type Report, writeMessage } from './protocol.ts'
import type { Sandbox } from './sandbox.ts'

const RECORDER = 'runner/sandbox/recorder-main.ts'
/** What starts as a process of its own in there. */
const ENTRIES = [RECORDER, 'bpf/control-plane-process.ts', 'bpf/metrics-process.ts']
const TEARDOWN_LIMIT_MS = 20_000

export interface VmOptions {
  /** As `--kernel` names it. */
  kernel?: string
  /** The folder that holds the run directories: what the guest writes there is here at once. */
  directory: string
  /** Sites stay up from stage to stage of the same name. */
  keepSites?: boolean
  /** Takes what the guest's libraries and programs complain of. */
  stderr: Writable
  say: (line: string) => void
}

/** A machine with a kernel of its own, over this machine's files. One serves all stages; it boots when the first one needs it. */
export class VmSandbox implements Sandbox {
  readonly kind = 'vm'
  readonly #accelerator: Accelerator
  readonly #kernel: Kernel
  readonly #options: VmOptions
  readonly #layers: Layer[]
  #up: { guest: Guest; reports: AsyncGenerator<Report> } | undefined

  private constructor(kernel: Kernel, how: Accelerator, layers: Layer[], options: VmOptions) {
    this.#kernel = kernel
    this.#accelerator = how
    this.#layers = layers
    this.#options = options
  }

  /** Finds or fetches what it boots; nothing runs yet. */
  static async prepare(options: VmOptions): Promise<VmSandbox> {
    const [kernel, how, layers] = await Promise.all([
      kernelNamed(options.kernel, options.say),
      accelerator(),
      bundled(ENTRIES),
    ])
    return new VmSandbox(kernel, how, layers, options)
  }

  get kernel(): string {
    return this.#kernel.release
  }

  get description(): string {
    return `vm with Linux ${this.kernel}, ${this.#accelerator.name === 'kvm' ? 'KVM' : 'emulated'}`
  }

  async record(job: StageJob, listener: Listener, stop: AbortSignal): Promise<StageOutcome> {
    stop.throwIfAborted()
    this.#up ??= this.#boot()
    const { guest, reports } = this.#up
    const onAbort = (): void => this.#interrupt(guest, stop)
    stop.addEventListener('abort', onAbort, { once: true })
    try {
      writeMessage(guest.stdin, { job: { ...job, patience: inEmulation(job.patience) }, nowNs: String(realtimeNs()) })
      return await outcomeOf(guest, reports, listener)
    } catch (error) {
      stop.throwIfAborted()
      throw error
    } finally {
      stop.removeEventListener('abort', onAbort)
    }
  }

  #boot(): { guest: Guest; reports: AsyncGenerator<Report> } {
    const { directory, keepSites, stderr } = this.#options
    const argv = [...nodeWords(RECORDER), ...(keepSites ? ['--keep-sites'] : [])]
    const guest = boot(this.#kernel, this.#accelerator, {
      argv,
      cwd: ROOT,
      env: guestEnvironment(),
      writable: [directory],
      layers: this.#layers,
    })
    guest.stderr.pipe(stderr, { end: false })
    return { guest, reports: messages<Report>(guest.stdout) }
  }

  /** Ctrl-C goes on to the recorder, which tears down; a machine that does not end is ended. */
  #interrupt(guest: Guest, stop: AbortSignal): void {
    guest.signal(stop.reason?.exitCode === 143 ? 'TERM' : 'INT')
    setTimeout(() => guest.kill(), TEARDOWN_LIMIT_MS).unref()
  }

  /** What runs in there has no state that matters: it ends as if its power was cut. */
  async close(): Promise<void> {
    this.#up?.guest.kill()
    await this.#up?.guest.exited.catch(() => {})
    this.#up = undefined
  }
}

/** Reports are read to the outcome and no further: the next stage goes on with them. */
async function outcomeOf(guest: Guest, reports: AsyncGenerator<Report>, listener: Listener): Promise<StageOutcome> {
  for (;;) {
    const { done, value } = await reports.next()
    if (done) throw new Error(`the recorder in the virtual machine ended with exit code ${await guest.exited}`)
    if ('outcome' in value) return value.outcome
    if ('error' in value) throw new GuestError(value.error, value.exitCode)
    if ('warning' in value) listener.warn(value.warning)
    else if ('bug' in value) listener.bug(value.bug, value.stack)
    else (listener.progress[value.event] as (data: unknown) => void)(value.data)
  }
}
