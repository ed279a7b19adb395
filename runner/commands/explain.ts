import { buildFrame } from '../../generators/frame.ts'
import { CHECKS } from '../check/registry.ts'
import { EXIT } from '../exit.ts'
import { ALL_FAULTS } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { loadRequirements, type Requirement } from '../requirements.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { bundledSuites } from '../suite/files.ts'
import { loadSuites } from '../suite/load.ts'
import type { PlannedCase, PlannedStep } from '../suite/plan-types.ts'
import { didYouMean } from '../suite/suggest.ts'
import { CaseWords } from '../suite/words.ts'
import type { ExplainOptions } from './options.ts'

/** A fault as far as `explain` needs it. */
export interface KnownFault {
  name: string
  requirements: readonly string[]
  description: string
}

/** A case (or all rows of a suite), or a requirement. */
export async function explainCommand(
  options: ExplainOptions,
  io: Io,
  faults: readonly KnownFault[] = ALL_FAULTS,
  paths: readonly string[] = [bundledSuites()],
): Promise<number> {
  const { requirements } = loadRequirements()
  const { plan, errors } = loadSuites(paths, { cwd: io.cwd })
  if (errors.length > 0) throw new UserErrors(errors)
  const cases = [...plan.stages.flatMap(stage => stage.cases), ...plan.skipped]
  const requirement = requirements.get(options.id.toUpperCase())
  const chosen = cases.filter(({ id }) => id === options.id || id.startsWith(`${options.id}[`))
  if (requirement) explainRequirement(requirement, cases, faults, io)
  else if (chosen[0]) explainCase(chosen[0], chosen, requirements, faults, io)
  else {
    const known = [...cases.map(({ id }) => id), ...requirements.keys()]
    throw new UserError('unknown-id', `no case and no requirement is called ${options.id}`, {
      hint: didYouMean(options.id, known),
    })
  }
  return EXIT.passed
}

function explainRequirement(
  requirement: Requirement,
  cases: readonly PlannedCase[],
  faults: readonly KnownFault[],
  io: Io,
): void {
  const { id, level, rfc, role, text, send, observe } = requirement
  printLine(io, `${id} (${level})  ${rfc.length > 0 ? rfc.join(', ') : 'no RFC: the replication ledger decides'}`)
  printLine(io, `  ${text}`)
  section(io, 'who', [role])
  section(io, 'sent', [send])
  section(io, 'passes', [observe])
  section(
    io,
    'cases',
    cases.filter(({ covers }) => covers.some(each => each.id === id)).map(each => each.id),
    'no case covers it',
  )
  section(io, 'faults that break it', faultLines([id], faults), 'none is known')
}

function explainCase(
  planned: PlannedCase,
  rows: readonly PlannedCase[],
  requirements: ReadonlyMap<string, Requirement>,
  faults: readonly KnownFault[],
  io: Io,
): void {
  const words = new CaseWords(planned)
  printLine(io, `${planned.id}  ${planned.title === planned.id ? '' : planned.title}`.trimEnd())
  printLine(io, `  ${planned.file}:${planned.line}`)
  if (rows.length > 1)
    section(
      io,
      'rows',
      rows.map(({ id }) => id),
    )
  section(
    io,
    'covers',
    planned.covers.flatMap(({ id, level, rfc, text }) => [
      `${id} (${level}) ${rfc}`,
      `   ${requirements.get(id)?.text ?? text}`,
    ]),
  )
  section(io, 'needs', planned.needs, 'nothing beyond a target')
  section(io, 'where', words.places())
  section(
    io,
    'steps',
    planned.steps.flatMap(step => [...words.step(step), ...igmpBytes(step)]),
  )
  section(
    io,
    'passes when',
    planned.expect.map(expectation => words.expectation(expectation)),
  )
  section(io, 'checks', [...new Set(planned.expect.map(({ check }) => `${check}: ${CHECKS[check].about}`))])
  section(
    io,
    'faults it may kill',
    faultLines(
      planned.covers.map(({ id }) => id),
      faults,
    ),
    'none is known',
  )
}

function faultLines(requirements: readonly string[], faults: readonly KnownFault[]): string[] {
  return faults
    .filter(fault => fault.requirements.some(id => requirements.includes(id)))
    .map(({ name, description }) => `${name}: ${description}`)
}

/** Octets of raw IGMP, for a pod whose address is not known before it runs: 0.0.0.0. */
function igmpBytes(step: PlannedStep): string[] {
  if (step.action !== 'send') return []
  const { frame } = step.stream
  const inside = step.meanwhile.flatMap(igmpBytes)
  if (frame.igmp === undefined && frame.ipv4?.protocol !== 2) return inside
  const bytes = buildFrame({ ...frame, ipv4: { src: 0, ...frame.ipv4 } }, {}, 0)
  return [`     ${Buffer.from(bytes.subarray(14)).toString('hex')}`, ...inside]
}

function section(io: Io, title: string, lines: readonly string[], otherwise?: string): void {
  const shown = lines.length > 0 || otherwise === undefined ? lines : [otherwise]
  if (shown.length === 0) return
  printLine(io)
  printLine(io, `${title}:`)
  for (const line of shown) printLine(io, `  ${line}`)
}
