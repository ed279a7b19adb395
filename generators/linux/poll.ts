import { close, libcFunction, SyscallError } from './libc.ts'

const poll = libcFunction<[fds: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *fds, unsigned long count, int timeout)',
)
const eventfd = libcFunction<[initial: number, flags: number]>('int eventfd(unsigned int initial, int flags)')
const write = libcFunction<[fd: number, bytes: Buffer, length: number]>(
  'intptr_t write(int fd, const void *bytes, size_t length)',
)
const read = libcFunction<[fd: number, bytes: Buffer, length: number]>(
  'intptr_t read(int fd, void *bytes, size_t length)',
)

const POLLIN = 1
const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000

/** Blocks the thread until one of the descriptors can be read or the time is over. A signal counts as time over. */
export function waitReadable(fds: readonly number[], timeoutMs: number): void {
  const request = Buffer.alloc(8 * fds.length)
  for (const [i, fd] of fds.entries()) {
    request.writeInt32LE(fd, 8 * i)
    request.writeInt16LE(POLLIN, 8 * i + 4)
  }
  try {
    poll(request, fds.length, timeoutMs)
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'EINTR')) throw error
  }
}

/** A bell that one thread rings and another, blocked in waitReadable, hears. */
export class Bell {
  readonly fd: number

  constructor(fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    this.fd = fd
  }

  ring(): void {
    const one = Buffer.alloc(8)
    one.writeBigUInt64LE(1n)
    write(this.fd, one, one.length)
  }

  /** Silences it; whether it had been rung. */
  hush(): boolean {
    try {
      return read(this.fd, Buffer.alloc(8), 8) > 0
    } catch (error) {
      if (error instanceof SyscallError && (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK')) return false
      throw error
    }
  }

  close(): void {
    close(this.fd)
  }
}
