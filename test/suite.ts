import { suite as uvuSuite } from 'uvu'

/** A test or hook body. */
export type Callback = () => void | Promise<void>

const DEFAULT_TIMEOUT_MS = 30_000
let registered = 0
let finished = 0
const hookErrors: string[] = []

/**
 * uvu's suite without its silent passes: errors in hooks fail the run, a test has a time limit, and at exit the number
 * of tests that finished must be the number registered (a forgotten `.run()` shows).
 */
export function suite(name: string, options: { timeoutMs?: number } = {}) {
  const inner = uvuSuite(name)
  const limitMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const test = (title: string, body: Callback): void => {
    registered++
    inner(title, async () => {
      await withTimeout(body, limitMs, `${name}: ${title}`)
      finished++
    })
  }
  return Object.assign(test, {
    before: (hook: Callback) => inner.before(guarded('before', name, hook)),
    after: (hook: Callback) => inner.after(guarded('after', name, hook)),
    beforeEach: (hook: Callback) => inner.before.each(guarded('before.each', name, hook)),
    afterEach: (hook: Callback) => inner.after.each(guarded('after.each', name, hook)),
    run: () => inner.run(),
  }) as TestSuite
}

export type TestSuite = ((title: string, body: Callback) => void) & {
  before: (hook: Callback) => void
  after: (hook: Callback) => void
  beforeEach: (hook: Callback) => void
  afterEach: (hook: Callback) => void
  run: () => void
}

function guarded(kind: string, name: string, hook: Callback): Callback {
  return async () => {
    try {
      await hook()
    } catch (error) {
      hookErrors.push(`${name} ${kind}: ${error instanceof Error ? error.stack : String(error)}`)
      throw error
    }
  }
}

async function withTimeout(body: Callback, limitMs: number, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not finished after ${limitMs} ms`)), limitMs)
  })
  try {
    await Promise.race([body(), limit])
  } finally {
    clearTimeout(timer)
  }
}

process.on('exit', () => {
  for (const error of hookErrors) console.error(error)
  console.log(`@tests registered=${registered} finished=${finished} hookErrors=${hookErrors.length}`)
  if (finished !== registered || hookErrors.length > 0) process.exitCode = 1
})
