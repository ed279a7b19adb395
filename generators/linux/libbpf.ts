import { constants } from 'node:os'
import koffi from 'koffi'
import { close, holding, O_CLOEXEC, O_RDONLY, open } from './libc.ts'

/** A libbpf or bpf(2) call that failed: which, with which errno; for a refused program, the end of the verifier's log. */
export class BpfError extends Error {
  readonly operation: string
  readonly errno: number
  /** `EPERM`, `E2BIG`, … */
  readonly code: string
  /** The verifier's whole log, when there is one. */
  readonly log: string

  constructor(operation: string, errno: number, what = '', log = '') {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`
    const lines = log.trimEnd().split('\n')
    const tail = log ? `\n${lines.slice(-4).join('\n')}\n(${Math.max(0, lines.length - 4)} line(s) omitted)` : ''
    super(`${operation}: ${code}${what ? ` (${what})` : ''}${tail}`)
    this.name = 'BpfError'
    this.operation = operation
    this.errno = errno
    this.code = code
    this.log = log
  }
}

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value as number, name]))

let library: ReturnType<typeof koffi.load> | undefined

/** Loaded when first asked for: a machine without libbpf can do all but the reference datapath. */
function libbpf(): ReturnType<typeof koffi.load> {
  if (library) return library
  try {
    library = koffi.load('libbpf.so.1')
  } catch (cause) {
    throw new Error('libbpf.so.1 cannot be loaded: install it (Debian: libbpf1)', { cause })
  }
  // Its messages on stderr: our errors carry what matters of them.
  library.func('void *libbpf_set_print(void *fn)')(null)
  return library
}

/** A libbpf function by its C prototype, bound on first use. A negative result throws, whether -1 and errno or -errno. */
function bpfFunction<Arguments extends unknown[]>(prototype: string): (what: string, ...args: Arguments) => number {
  const name = /(\w+)\s*\(/.exec(prototype)?.[1] ?? prototype
  let fn: ((...args: Arguments) => unknown) | undefined
  return (what, ...args) => {
    fn ??= libbpf().func(prototype) as (...args: Arguments) => unknown
    const result = Number(fn(...args))
    if (result < 0) throw new BpfError(name, result === -1 ? koffi.errno() || 1 : -result, what)
    return result
  }
}

/** The same for functions that return a pointer: NULL throws. */
function bpfPointer<Arguments extends unknown[]>(prototype: string): (what: string, ...args: Arguments) => Pointer {
  const name = /(\w+)\s*\(/.exec(prototype)?.[1] ?? prototype
  let fn: ((...args: Arguments) => unknown) | undefined
  return (what, ...args) => {
    fn ??= libbpf().func(prototype) as (...args: Arguments) => unknown
    const result = fn(...args)
    if (!result) throw new BpfError(name, koffi.errno(), what)
    return result as Pointer
  }
}

/** An opaque C pointer as koffi hands it out. */
type Pointer = bigint | object

const objectOpen = bpfPointer<[path: string]>('void *bpf_object__open(const char *path)')
const objectLoad = bpfFunction<[object: Pointer]>('int bpf_object__load(void *object)')
const findMap = bpfPointer<[object: Pointer, name: string]>(
  'void *bpf_object__find_map_by_name(void *object, const char *name)',
)
const findProgram = bpfPointer<[object: Pointer, name: string]>(
  'void *bpf_object__find_program_by_name(void *object, const char *name)',
)
const nextMap = bpfPointer<[object: Pointer, previous: Pointer | null]>(
  'void *bpf_object__next_map(void *object, void *previous)',
)
const mapFd = bpfFunction<[map: Pointer]>('int bpf_map__fd(void *map)')
const programFd = bpfFunction<[program: Pointer]>('int bpf_program__fd(void *program)')
const setMaxEntries = bpfFunction<[map: Pointer, entries: number]>(
  'int bpf_map__set_max_entries(void *map, uint32_t entries)',
)
const setValueSize = bpfFunction<[map: Pointer, bytes: number]>(
  'int bpf_map__set_value_size(void *map, uint32_t bytes)',
)
const initialValue = bpfPointer<[map: Pointer, length: Buffer]>('void *bpf_map__initial_value(void *map, void *length)')
const setLogBuffer = bpfFunction<[program: Pointer, log: Buffer, length: number]>(
  'int bpf_program__set_log_buf(void *program, void *log, size_t length)',
)
const lookupElem = bpfFunction<[fd: number, key: Uint8Array, value: Uint8Array]>(
  'int bpf_map_lookup_elem(int fd, const void *key, void *value)',
)
const updateElem = bpfFunction<[fd: number, key: Uint8Array, value: Uint8Array, flags: bigint]>(
  'int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)',
)
const deleteElem = bpfFunction<[fd: number, key: Uint8Array]>('int bpf_map_delete_elem(int fd, const void *key)')
const lookupBatch = bpfFunction<
  [fd: number, from: Buffer | null, to: Buffer, keys: Buffer, values: Buffer, count: Buffer, options: null]
>('int bpf_map_lookup_batch(int fd, void *from, void *to, void *keys, void *values, void *count, const void *options)')
const programTestRun = bpfFunction<[fd: number, options: Buffer]>('int bpf_prog_test_run_opts(int fd, void *options)')
const hookCreate = bpfFunction<[hook: Buffer]>('int bpf_tc_hook_create(void *hook)')
const hookDestroy = bpfFunction<[hook: Buffer]>('int bpf_tc_hook_destroy(void *hook)')
const tcDetach = bpfFunction<[hook: Buffer, options: Buffer]>(
  'int bpf_tc_detach(const void *hook, const void *options)',
)
const tcAttach = bpfFunction<[hook: Buffer, options: Buffer]>('int bpf_tc_attach(const void *hook, void *options)')

const rawTracepointOpen = bpfFunction<[name: string | null, fd: number]>(
  'int bpf_raw_tracepoint_open(const char *name, int fd)',
)
const linkCreate = bpfFunction<[fd: number, target: number, type: number, options: null]>(
  'int bpf_link_create(int prog_fd, int target_fd, int attach_type, const void *opts)',
)
const setAutoload = bpfFunction<[program: Pointer, autoload: boolean]>(
  'int bpf_program__set_autoload(void *program, bool autoload)',
)

const LOG_BYTES = 1 << 16

/** A BPF object file between open and close. Set constants and sizes before `load`; file descriptors are there after it. */
export class BpfObject {
  #object: Pointer | undefined
  readonly #logs: { name: string; log: Buffer }[] = []

  constructor(path: string) {
    this.#object = objectOpen(path, path)
  }

  /** Bytes of a section of globals (`.rodata`, `.data`): written before `load`, read by the programs as set. */
  section(name: string): Buffer {
    const length = Buffer.alloc(8)
    const pointer = initialValue(name, this.#findSection(name), length)
    return Buffer.from(koffi.view(pointer as bigint, Number(length.readBigUInt64LE())))
  }

  setMaxEntries(map: string, entries: number): void {
    setMaxEntries(map, findMap(map, this.#open(), map), entries)
  }

  setValueBytes(map: string, bytes: number): void {
    setValueSize(map, findMap(map, this.#open(), map), bytes)
  }

  /** Before `load`: a program that this kernel would not take. */
  leaveOut(program: string): void {
    setAutoload(program, findProgram(program, this.#open(), program), false)
  }

  /** Keeps the verifier's log of these programs for the error, should they be refused. */
  load(programs: readonly string[]): void {
    for (const name of programs) {
      const log = Buffer.alloc(LOG_BYTES)
      setLogBuffer(name, findProgram(name, this.#open(), name), log, log.length)
      this.#logs.push({ name, log })
    }
    try {
      objectLoad('', this.#open())
    } catch (error) {
      const refused = this.#logs.find(({ log }) => log[0] !== 0)
      if (!(error instanceof BpfError) || !refused) throw error
      const text = refused.log.toString('latin1', 0, refused.log.indexOf(0))
      throw new BpfError('bpf_object__load', error.errno, `program ${refused.name}`, text)
    }
  }

  mapFd(name: string): number {
    return mapFd(name, findMap(name, this.#open(), name))
  }

  programFd(name: string): number {
    return programFd(name, findProgram(name, this.#open(), name))
  }

  /** Closes every file descriptor; programs that are still attached stay in the kernel. */
  close(): void {
    if (this.#object) libbpf().func('void bpf_object__close(void *object)')(this.#object)
    this.#object = undefined
  }

  #open(): Pointer {
    if (!this.#object) throw new Error('the BPF object is closed')
    return this.#object
  }

  /** libbpf knows sections by the object's name and the section's: `mcast.rodata`. */
  #findSection(section: string): Pointer {
    const nameOf = libbpf().func('const char *bpf_map__name(void *map)')
    let map: Pointer | null = null
    for (;;) {
      map = nextMap(section, this.#open(), map)
      if (String(nameOf(map)).endsWith(section)) return map
    }
  }
}

const ENOENT = constants.errno.ENOENT

/** The value of a key, into `value`; false when there is none. */
export function lookup(fd: number, key: Uint8Array, value: Uint8Array): boolean {
  return unlessMissing(() => lookupElem('', fd, key, value))
}

export const UPDATE = { any: 0n, noExist: 1n, exist: 2n } as const

export function update(fd: number, key: Uint8Array, value: Uint8Array, flags: bigint = UPDATE.any): void {
  updateElem('', fd, key, value, flags)
}

/** False when there was none. */
export function remove(fd: number, key: Uint8Array): boolean {
  return unlessMissing(() => deleteElem('', fd, key))
}

/** Every entry of a hash map, in blocks of keys and values. An entry changed meanwhile may be missing. */
export function* entries(fd: number, keyBytes: number, valueBytes: number): Generator<{ key: Buffer; value: Buffer }> {
  let capacity = 1024
  let from: Buffer | null = null
  for (;;) {
    const to: Buffer = Buffer.alloc(Math.max(4, keyBytes))
    const keys = Buffer.alloc(capacity * keyBytes)
    const values = Buffer.alloc(capacity * valueBytes)
    const block = readBlock(fd, from, to, keys, values, capacity)
    if (block === 'too small') {
      capacity *= 2
      continue
    }
    for (let i = 0; i < block.count; i++)
      yield {
        key: keys.subarray(i * keyBytes, (i + 1) * keyBytes),
        value: values.subarray(i * valueBytes, (i + 1) * valueBytes),
      }
    if (block.last) return
    from = to
  }
}

function readBlock(
  fd: number,
  from: Buffer | null,
  to: Buffer,
  keys: Buffer,
  values: Buffer,
  capacity: number,
): { count: number; last: boolean } | 'too small' {
  const count = Buffer.alloc(4)
  count.writeUInt32LE(capacity)
  try {
    lookupBatch('', fd, from, to, keys, values, count, null)
    return { count: count.readUInt32LE(), last: false }
  } catch (error) {
    if (!(error instanceof BpfError)) throw error
    if (error.code === 'ENOENT') return { count: count.readUInt32LE(), last: true }
    if (error.code === 'ENOSPC') return 'too small'
    throw error
  }
}

function unlessMissing(body: () => unknown): boolean {
  try {
    body()
    return true
  } catch (error) {
    if (error instanceof BpfError && error.errno === ENOENT) return false
    throw error
  }
}

/** struct bpf_test_run_opts of libbpf 1.x. */
const TEST_RUN = { size: 88, dataIn: 8, dataOut: 16, dataInBytes: 24, dataOutBytes: 28, ctxIn: 32, ctxInBytes: 48 }
const TEST_RUN_RETVAL = 56
const TEST_RUN_REPEAT = 60
const TEST_RUN_FLAGS = 68
const TEST_RUN_BATCH = 76

/** A buffer of which only the address is used afterwards may be collected: the caller names it once more after the call. */
function keepAlive(...buffers: (Uint8Array | undefined)[]): void {
  if (buffers.some(buffer => buffer?.byteOffset === -1)) throw new RangeError('no buffer starts there')
}

export interface TestRun {
  /** What the program returned. */
  verdict: number
  /** The packet as the program left it. */
  data: Buffer
}

/** Runs a program on a packet (BPF_PROG_RUN). `context` is a struct __sk_buff with the fields the kernel lets be set. */
export function testRun(fd: number, packet: Uint8Array, context?: Buffer): TestRun {
  const out = Buffer.alloc(packet.length + 256)
  const options = Buffer.alloc(TEST_RUN.size)
  options.writeBigUInt64LE(BigInt(TEST_RUN.size), 0)
  options.writeBigUInt64LE(koffi.address(packet), TEST_RUN.dataIn)
  options.writeBigUInt64LE(koffi.address(out), TEST_RUN.dataOut)
  options.writeUInt32LE(packet.length, TEST_RUN.dataInBytes)
  options.writeUInt32LE(out.length, TEST_RUN.dataOutBytes)
  if (context) {
    options.writeBigUInt64LE(koffi.address(context), TEST_RUN.ctxIn)
    options.writeUInt32LE(context.length, TEST_RUN.ctxInBytes)
  }
  options.writeInt32LE(1, TEST_RUN_REPEAT)
  holding([packet, out, context], () => programTestRun('', fd, options))
  keepAlive(packet, out, context)
  return {
    verdict: options.readUInt32LE(TEST_RUN_RETVAL),
    data: out.subarray(0, options.readUInt32LE(TEST_RUN.dataOutBytes)),
  }
}

/** BPF_F_TEST_XDP_LIVE_FRAMES */
const LIVE_FRAMES = 2
/** What a page holds before the program has written into it. */
const BLANK_FRAME = Buffer.alloc(64)

/** Runs an XDP program so often, in the current namespace, and lets the network have the frames it makes (Linux 5.18). */
export function runLive(fd: number, frames: number, batch: number): void {
  const options = Buffer.alloc(TEST_RUN.size)
  options.writeBigUInt64LE(BigInt(TEST_RUN.size), 0)
  options.writeBigUInt64LE(koffi.address(BLANK_FRAME), TEST_RUN.dataIn)
  options.writeUInt32LE(BLANK_FRAME.length, TEST_RUN.dataInBytes)
  options.writeInt32LE(frames, TEST_RUN_REPEAT)
  options.writeUInt32LE(LIVE_FRAMES, TEST_RUN_FLAGS)
  options.writeUInt32LE(batch, TEST_RUN_BATCH)
  programTestRun('live frames', fd, options)
}

const TC_INGRESS = 1
const TC_EGRESS = 2

type TcDirection = 'ingress' | 'egress'

/** Attaches a program to an interface of the current namespace (clsact); those of other priorities stay and come in their order. */
export function attachTc(ifindex: number, programFd: number, direction: TcDirection = 'ingress', priority = 1): void {
  const hook = tcHook(ifindex, direction === 'ingress' ? TC_INGRESS : TC_EGRESS)
  try {
    hookCreate(`ifindex ${ifindex}`, hook)
  } catch (error) {
    if (!(error instanceof BpfError) || error.code !== 'EEXIST') throw error
  }
  const options = tcOptions(priority)
  options.writeInt32LE(programFd, 8)
  options.writeUInt32LE(TC_REPLACE, 12)
  tcAttach(`ifindex ${ifindex}`, hook, options)
}

/** What is attached until it is closed, or its process ends. */
export interface Link {
  close(): void
}

/** Attaches a program to the kernel function that its section names (fentry, fexit). */
export function attachTracing(programFd: number): Link {
  const link = rawTracepointOpen('tracing', null, programFd)
  return { close: () => close(link) }
}

export function attachTracepoint(name: string, programFd: number): Link {
  const link = rawTracepointOpen(name, name, programFd)
  return { close: () => close(link) }
}

/** enum bpf_attach_type */
const CGROUP_HOOKS = { ingress: 0, egress: 1, sockCreate: 2 } as const

/** Attaches a program to a cgroup of version 2 and those below it, beside the programs of others. */
export function attachCgroup(cgroup: string, programFd: number, hook: keyof typeof CGROUP_HOOKS): Link {
  const fd = open(cgroup, O_RDONLY | O_CLOEXEC)
  try {
    const link = linkCreate(cgroup, programFd, fd, CGROUP_HOOKS[hook], null)
    return { close: () => close(link) }
  } finally {
    close(fd)
  }
}

/** Takes the one program off; false when it, the hook or the interface is gone. */
export function detachTcProgram(ifindex: number, direction: TcDirection, priority = 1): boolean {
  const hook = tcHook(ifindex, direction === 'ingress' ? TC_INGRESS : TC_EGRESS)
  return unlessGone(() => tcDetach(`ifindex ${ifindex}`, hook, tcOptions(priority)))
}

/** struct bpf_tc_opts with one handle and priority. */
function tcOptions(priority: number): Buffer {
  const options = Buffer.alloc(32)
  options.writeBigUInt64LE(32n, 0)
  options.writeUInt32LE(1, 20) // handle
  options.writeUInt32LE(priority, 24)
  return options
}

const TC_REPLACE = 1

/** Takes the whole clsact hook off an interface of the current namespace; false when the interface or hook is gone. */
export function detachTc(ifindex: number): boolean {
  return unlessGone(() => hookDestroy(`ifindex ${ifindex}`, tcHook(ifindex, TC_INGRESS | TC_EGRESS)))
}

function unlessGone(body: () => unknown): boolean {
  try {
    body()
    return true
  } catch (error) {
    if (error instanceof BpfError && ['ENODEV', 'ENOENT', 'EINVAL'].includes(error.code)) return false
    throw error
  }
}

function tcHook(ifindex: number, point: number): Buffer {
  const hook = Buffer.alloc(24)
  hook.writeBigUInt64LE(24n, 0)
  hook.writeInt32LE(ifindex, 8)
  hook.writeInt32LE(point, 12)
  return hook
}

const numPossibleCpus = bpfFunction<[]>('int libbpf_num_possible_cpus(void)')
let cpus = 0

/** How many values an entry of a per-CPU map has. */
export function possibleCpus(): number {
  cpus ||= numPossibleCpus('')
  return cpus
}
