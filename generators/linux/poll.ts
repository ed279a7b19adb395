import { libcFunction, SyscallError } from './libc.ts'

const poll = libcFunction<[fds: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *fds, unsigned long count, int timeout)',
)

const POLLIN = 1

/** Blocks the thread until one of the descriptors can be read (or has ended), or the time is over; a signal counts as that. */
export function waitReadable(fds: readonly number[], timeoutMs: number): Set<number> {
  const request = Buffer.alloc(8 * fds.length)
  for (const [i, fd] of fds.entries()) {
    request.writeInt32LE(fd, 8 * i)
    request.writeInt16LE(POLLIN, 8 * i + 4)
  }
  try {
    poll(request, fds.length, timeoutMs)
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'EINTR')) throw error
    return new Set()
  }
  return new Set(fds.filter((_, i) => request.readInt16LE(8 * i + 6) !== 0))
}
