import type { Netns } from '../../../generators/linux/netns.ts'
import { type RunningProgram, startProgram } from '../../programs-run.ts'

/**
 * What daemons of a router see of the machine: a /run and a /var/tmp of their own in memory, a configuration in there, and the
 * group that FRR insists on. All of it goes with the last of them, however that ends. `$0` is the configuration's path.
 */
const OWN_MOUNTS = [
  'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/tmp && cat > "$0"',
  '{ cat /etc/group; echo frrvty:x:0:; } > /run/group && mount --bind /run/group /etc/group && exec "$@"',
].join(' && ')

/** For those that come later: their configuration into the same /run. */
const WITH_CONFIG = 'cat > "$0" && exec "$@"'

const LOG_LINES = 5

/** The routing daemons of one router, in its namespace. They die with this process, and leave no file. */
export class Daemons {
  readonly name: string
  private readonly ns: Netns
  private readonly running: RunningProgram[] = []
  private readonly ended: string[] = []
  private stopping = false

  constructor(name: string, ns: Netns) {
    this.name = name
    this.ns = ns
  }

  /** The first makes the mounts, the others join it there. */
  async start(name: string, argv: readonly string[], config = { file: `/run/${name}.none`, text: '' }): Promise<void> {
    const first = this.running[0]
    const wrapper = first
      ? ['nsenter', `--mount=/proc/${first.pid}/ns/mnt`, 'sh', '-c', WITH_CONFIG, config.file]
      : ['unshare', '--mount', 'sh', '-c', OWN_MOUNTS, config.file]
    const log: string[] = []
    const program = await startProgram(this.ns, [...wrapper, ...argv], config.text, ({ event, text }) => {
      if (event !== 'exit') {
        log.push(text)
        if (log.length > LOG_LINES) log.shift()
      } else if (!this.stopping) this.ended.push(`${name} of ${this.name} ended with ${text}: ${log.join(' | ')}`)
    })
    this.running.push(program)
  }

  /** Why one ended that nobody stopped; undefined while all run. */
  get trouble(): string | undefined {
    return this.ended[0]
  }

  /** A path as the daemons see it, for us. */
  pathOf(path: string): string {
    return `/proc/${this.running[0]?.pid}/root${path}`
  }

  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM', withinMs?: number): Promise<void> {
    this.stopping = true
    await Promise.all(this.running.splice(0).map(program => program.stop(signal, withinMs)))
  }
}
