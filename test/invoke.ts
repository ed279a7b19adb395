import { Writable } from 'node:stream'
import { cli } from '../runner/cli.ts'
import { Interrupted } from '../runner/io.ts'

export interface Invoked {
  exitCode: number
  stdout: string
  stderr: string
}

/** A command line in this process: its exit code and everything it wrote. After `limitMs` it is stopped as by Ctrl-C. */
export async function invoke(words: readonly string[], cwd = '/', limitMs = 30_000): Promise<Invoked> {
  const stop = new AbortController()
  const timer = setTimeout(() => stop.abort(new Interrupted('SIGINT')), limitMs)
  const written = { stdout: '', stderr: '' }
  const into = (name: keyof typeof written) =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        done()
      },
    })
  try {
    const io = { stdout: into('stdout'), stderr: into('stderr'), env: {}, cwd, signal: stop.signal }
    return { exitCode: await cli(words, io), ...written }
  } finally {
    clearTimeout(timer)
  }
}
