import { constants } from 'node:os'
import koffi from 'koffi'

/** A system call that failed: which, with which errno, and what was being done. */
export class SyscallError extends Error {
  readonly syscall: string
  readonly errno: number
  /** `EPERM`, `ENOENT`, … */
  readonly code: string

  constructor(syscall: string, errno: number, what = '') {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`
    super(`${syscall}: ${code}${what ? ` (${what})` : ''}`)
    this.name = 'SyscallError'
    this.syscall = syscall
    this.errno = errno
    this.code = code
  }
}

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value as number, name]))

const libc = koffi.load('libc.so.6')

/**
 * A libc function by its C prototype; the wrapper throws SyscallError when it returns a negative number.
 * Every koffi call of the project goes through here or through libbpf.ts, so that no return value is left unchecked.
 */
export function libcFunction<Arguments extends unknown[]>(prototype: string): (...args: Arguments) => number {
  const fn = libc.func(prototype)
  const name = /(\w+)\s*\(/.exec(prototype)?.[1] ?? prototype
  return (...args) => {
    const result = Number(fn(...args))
    if (result < 0) throw new SyscallError(name, koffi.errno())
    return result
  }
}

const held: unknown[] = []

/**
 * Makes a native call that reaches these buffers by addresses written into other ones. Known by address alone, a buffer
 * may be collected before the kernel reads it; with ethtool requests that was seen.
 */
export function holding<Result>(buffers: readonly unknown[], call: () => Result): Result {
  held.push(...buffers)
  try {
    return call()
  } finally {
    held.splice(held.length - buffers.length)
  }
}

export const open = libcFunction<[path: string, flags: number]>('int open(const char *path, int flags)')
export const close = libcFunction<[fd: number]>('int close(int fd)')
export const ioctl = libcFunction<[fd: number, request: number, argument: Buffer]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)
export const socket = libcFunction<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
)
export const bind = libcFunction<[fd: number, address: Uint8Array, length: number]>(
  'int bind(int fd, const void *address, uint32_t length)',
)
export const connect = libcFunction<[fd: number, address: Uint8Array, length: number]>(
  'int connect(int fd, const void *addr, uint32_t addrlen)',
)
export const setsockopt = libcFunction<[fd: number, level: number, name: number, value: Uint8Array, length: number]>(
  'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
)
export const getsockopt = libcFunction<[fd: number, level: number, name: number, value: Buffer, length: Buffer]>(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
)
export const unshare = libcFunction<[flags: number]>('int unshare(int flags)')
export const setns = libcFunction<[fd: number, type: number]>('int setns(int fd, int type)')
const memfdCreate = libcFunction<[name: string, flags: number]>(
  'int memfd_create(const char *name, unsigned int flags)',
)
const schedSetaffinity = libcFunction<[pid: number, length: number, mask: Buffer]>(
  'int sched_setaffinity(int pid, size_t length, const void *mask)',
)
const schedGetaffinity = libcFunction<[pid: number, length: number, mask: Buffer]>(
  'int sched_getaffinity(int pid, size_t length, void *mask)',
)
const clockGettime = libcFunction<[clock: number, time: Buffer]>('int clock_gettime(int clock, void *time)')
const clockSettime = libcFunction<[clock: number, time: Buffer]>('int clock_settime(int clock, const void *time)')

export const AF_INET = 2
export const AF_PACKET = 17
export const SOCK_STREAM = 1
export const SOCK_RAW = 3
export const SOCK_DGRAM = 2
export const SOCK_CLOEXEC = 0o2000000
export const O_RDONLY = 0
export const O_CLOEXEC = 0o2000000
export const CLONE_NEWNET = 0x40000000

/** Keeps the calling thread on one CPU: frames sent from one CPU do not overtake each other. */
export function pinThread(cpu: number): void {
  const mask = Buffer.alloc(128)
  mask[cpu >> 3] = 1 << (cpu & 7)
  schedSetaffinity(0, mask.length, mask)
}

/** As `pinThread`, on a CPU that this process may use: in a container number 0 need not be one. */
export function pinThreadAnywhere(choice: number): void {
  const mask = Buffer.alloc(128)
  schedGetaffinity(0, mask.length, mask)
  const allowed = [...mask].flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter(bit => byte & (1 << bit)).map(bit => 8 * i + bit),
  )
  pinThread(allowed[choice % allowed.length] ?? 0)
}

const MFD_CLOEXEC = 1

/** A file that no folder names: others reach it as /proc/PID/fd/N, and it is gone when it is closed. */
export function memoryFile(name: string): number {
  return memfdCreate(name, MFD_CLOEXEC)
}

/** Runs `body` free to use every CPU: what it spawns would else inherit `pinThread`. Synchronous, as `inNetns` is. */
export function onAllCpus<T>(body: () => T): T {
  const before = Buffer.alloc(128)
  schedGetaffinity(0, before.length, before)
  schedSetaffinity(0, before.length, Buffer.alloc(before.length, 0xff))
  try {
    return body()
  } finally {
    schedSetaffinity(0, before.length, before)
  }
}

const timespec = Buffer.alloc(16)

/** CLOCK_REALTIME, the clock of kernel packet stamps, in nanoseconds. */
export function realtimeNs(): bigint {
  clockGettime(0, timespec)
  return timespec.readBigInt64LE(0) * 1_000_000_000n + timespec.readBigInt64LE(8)
}

/** Sets CLOCK_REALTIME; for a virtual machine's own clock only. */
export function setClock(timeNs: bigint): void {
  const time = Buffer.alloc(16)
  time.writeBigInt64LE(timeNs / 1_000_000_000n, 0)
  time.writeBigInt64LE(timeNs % 1_000_000_000n, 8)
  clockSettime(0, time)
}
