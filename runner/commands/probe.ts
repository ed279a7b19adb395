import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { type Capability, probeAll } from '../probe.ts'
import type { ProbeOptions } from './options.ts'

/** Exit code 0 when the reference target can run here, else 3. */
export async function probeCommand(options: ProbeOptions, io: Io): Promise<number> {
  const capabilities = await probeAll()
  const lacking = capabilities.filter(one => !one.ok && one.neededFor.includes('reference'))
  if (options.json) printLine(io, JSON.stringify({ reference: lacking.length === 0, capabilities }, null, 2))
  else printTable(capabilities, lacking, io)
  return lacking.length === 0 ? EXIT.passed : EXIT.cannot
}

function printTable(capabilities: readonly Capability[], lacking: readonly Capability[], io: Io): void {
  const width = Math.max(...capabilities.map(one => one.name.length))
  for (const one of capabilities) {
    printLine(io, `${one.ok ? 'yes' : 'NO '}  ${one.name.padEnd(width)}  ${one.found}`)
    if (one.ok) continue
    const indent = ' '.repeat(width + 7)
    printLine(io, `${indent}needed for: ${one.neededFor.join(', ')}`)
    printLine(io, `${indent}remedy: ${one.remedy}`)
  }
  printLine(io)
  printLine(
    io,
    lacking.length === 0
      ? 'The reference target can run here.'
      : `The reference target cannot run here: it lacks ${lacking.map(one => one.name).join(', ')}.`,
  )
}
