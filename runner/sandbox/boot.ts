import { type ChildProcess, spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { type Readable, Transform, type Writable } from 'node:stream'
import { close, memoryFile, onAllCpus } from '../../generators/linux/libc.ts'
import { Unsupported } from '../unsupported.ts'
import type { Accelerator } from './accelerator.ts'
import type { Layer } from './code.ts'
import { END_MARK, FW_CFG } from './initramfs.ts'
import type { Kernel } from './kernel.ts'

const MEMORY_MIB = 3072
const CPUS = 2
/** Kept of what the kernel and QEMU say, for the message when it goes wrong. */
const LOG_TAIL_CHARACTERS = 4000

/** What runs in the guest, in place of a login. */
export interface GuestProgram {
  argv: readonly string[]
  cwd: string
  env: Readonly<Record<string, string>>
  /** Folders that the guest writes straight to this machine; all else that it writes is gone with it. */
  writable: readonly string[]
  layers: readonly Layer[]
}

/** A machine that is up, or coming up, and dies with this process. */
export interface Guest {
  /** Has no end: QEMU takes that for a hang-up, and output goes with it. */
  stdin: Writable
  stdout: Readable
  stderr: Readable
  /** To the program inside. */
  signal(name: 'INT' | 'TERM'): void
  /** Exit code of the program; rejects when the machine ended without one. */
  readonly exited: Promise<number>
  /** At once; everything it held is gone with it. */
  kill(): void
}

/** Boots the kernel over this machine's root filesystem and starts the program. Leaves no file anywhere. */
export function boot(kernel: Kernel, accelerator: Accelerator, program: GuestProgram): Guest {
  const scripts = [rootScript(kernel, program), programScript(program)].map(inMemory)
  const [root = 0, start = 0] = scripts
  const words = qemuWords(kernel, accelerator, program, { root: pathOf(root), program: pathOf(start) })
  const child = onAllCpus(() =>
    // Not by execa: these pipes go both ways.
    spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...words], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    }),
  )
  child.once('close', () => scripts.forEach(close))
  return guestOf(child)
}

function inMemory(text: string): number {
  const fd = memoryFile('castproof-guest')
  writeSync(fd, text)
  return fd
}

function pathOf(fd: number): string {
  return `/proc/${process.pid}/fd/${fd}`
}

const PORTS = { output: 3, errors: 4, control: 5, console: 6 } as const

function qemuWords(
  kernel: Kernel,
  accelerator: Accelerator,
  program: GuestProgram,
  scripts: { root: string; program: string },
): string[] {
  const share = (path: string, tag: string, more = '') =>
    `local,path=${path.replaceAll(',', ',,')},mount_tag=${tag},security_model=none,multidevs=remap${more}`
  const port = (name: keyof typeof PORTS, nr: number) => [
    ...['-chardev', `socket,id=${name},fd=${PORTS[name]}`],
    ...['-device', `virtserialport,chardev=${name},nr=${nr},name=castproof.${name}`],
  ]
  return [
    ...(accelerator.name === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'max']),
    ...[
      '-smp',
      String(CPUS),
      '-m',
      String(MEMORY_MIB),
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
    ],
    ...['-kernel', kernel.image, '-initrd', kernel.initramfs],
    ...['-append', 'console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off nokaslr cryptomgr.notests'],
    ...['-chardev', `socket,id=console,fd=${PORTS.console}`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci', ...port('output', 1), ...port('errors', 2), ...port('control', 3)],
    ...[
      '-fw_cfg',
      `name=${FW_CFG.root},file=${scripts.root}`,
      '-fw_cfg',
      `name=${FW_CFG.program},file=${scripts.program}`,
    ],
    ...['-virtfs', share('/', 'host', ',readonly=on')],
    ...program.writable.flatMap((path, i) => ['-virtfs', share(path, `writable${i}`)]),
  ]
}

/** Run by the guest's init, outside of the root that it finishes. */
function rootScript(kernel: Kernel, { writable, layers }: GuestProgram): string {
  const modules = `/root/usr/lib/modules/${kernel.release}`
  const lines = [
    `mkdir -p ${quoted(modules)} && mount --bind ${quoted(`/host${kernel.modules}`)} ${quoted(modules)}`,
    ...layers.flatMap(({ over, files }, i) => [
      `mkdir -p ${quoted(`/root${over}`)} /written/upper${i} /written/work${i}`,
      `mount -t overlay -o ${quoted(`lowerdir=/host${files}:/host${over},upperdir=/written/upper${i},workdir=/written/work${i}`)} layer ${quoted(`/root${over}`)}`,
    ]),
    ...writable.flatMap((path, i) => [
      `mkdir -p ${quoted(`/root${path}`)}`,
      `mount -t 9p -o rw,trans=virtio,version=9p2000.L,msize=512000,cache=none writable${i} ${quoted(`/root${path}`)}`,
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function programScript({ argv, cwd, env }: GuestProgram): string {
  const given = Object.entries(env).map(([name, value]) => `export ${name}=${quoted(value)}`)
  return [...given, `cd ${quoted(cwd)}`, `exec ${argv.map(quoted).join(' ')}`, ''].join('\n')
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

function guestOf(child: ChildProcess): Guest {
  const [output, errors, control, console_] = Object.values(PORTS).map(fd => (child.stdio as unknown[])[fd] as Socket)
  let log = ''
  for (const stream of [child.stdout, child.stderr, console_])
    stream?.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(-LOG_TAIL_CHARACTERS)))
  const ends = [new UntilMark(), new UntilMark()] as const
  output?.pipe(ends[0])
  errors?.pipe(ends[1])
  for (const socket of [output, errors, control, console_]) socket?.on('error', () => {})
  const exited = new Promise<number>((resolve, reject) => {
    const codes = ends.map(end => new Promise<number>(seen => end.once('exit', seen)))
    void Promise.all(codes).then(([code = 0]) => resolve(code))
    child.once('error', reject)
    child.once('close', (code, signal) => reject(guestLost(signal ?? `exit code ${code}`, log)))
  })
  const kill = (): boolean => child.kill('SIGKILL')
  exited.then(kill, () => {})
  // A socket with words that QEMU never read is reset when it ends: an error, after which no pipe ends.
  child.once('close', () => {
    for (const end of ends) end.end()
  })
  return {
    stdin: output as Writable,
    stdout: ends[0],
    stderr: ends[1],
    signal: name => control?.write(`${name}\n`),
    exited,
    kill,
  }
}

/** The machine ended, and the program in it had not: for want of memory as a rule. */
function guestLost(how: string, log: string): Unsupported {
  return new Unsupported({
    feature: 'the virtual machine',
    needs: 'to run until its program ends',
    found: `${how}${log.trim() === '' ? '' : `: ${log.trim()}`}`,
    remedy: `free ${MEMORY_MIB} MiB of memory for it, or use --sandbox host`,
  })
}

/** Passes on what comes before the end mark; the mark is an event, not data. */
class UntilMark extends Transform {
  #held = Buffer.alloc(0)

  override _transform(chunk: Buffer, _encoding: string, done: () => void): void {
    const data = Buffer.concat([this.#held, chunk])
    const mark = data.indexOf(END_MARK)
    const exit = mark < 0 ? null : /^\d+(?=\n)/.exec(data.toString('latin1', mark + END_MARK.length))
    const keep = mark >= 0 ? mark : partOfMark(data)
    this.push(data.subarray(0, keep))
    this.#held = data.subarray(keep)
    if (exit !== null) {
      this.push(null)
      this.emit('exit', Number(exit[0]))
    }
    done()
  }
}

/** Where a mark may begin whose rest has not come yet. */
function partOfMark(data: Buffer): number {
  const start = Math.max(0, data.length - END_MARK.length + 1)
  for (let at = start; at < data.length; at++) if (END_MARK.startsWith(data.toString('latin1', at))) return at
  return data.length
}
