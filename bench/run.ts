import { cpus, release } from 'node:os'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

/**
 * Every measurement, both sides of each in one run, one process after the other so that none warms another up. Rates are
 * of this machine as it is now: quote the ratios.
 */
const BENCHES = ['replication', 'sender', 'capture', 'netflow', 'default-run']
const LIMIT_MS = 15 * 60_000

const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !BENCHES.includes(name))
if (unknown.length > 0) {
  console.error(`no benchmark is called ${unknown.join(', ')}; there are ${BENCHES.join(', ')}`)
  process.exit(2)
}
console.log(`${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Linux ${release()}, Node ${process.version}`)
let failed = false
for (const name of wanted.length > 0 ? wanted : BENCHES) {
  console.log(`\n== ${name}`)
  const file = fileURLToPath(new URL(`./${name}.bench.ts`, import.meta.url))
  const result = await execa(process.execPath, ['--import', 'tsx', file], {
    stdio: 'inherit',
    reject: false,
    timeout: LIMIT_MS,
  })
  if (result.failed) {
    console.log(`${name}: did not finish (${result.shortMessage})`)
    failed = true
  }
}
process.exit(failed ? 1 : 0)
