import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Capability, probe } from '../probe.ts'
import { kernelNeedsOf } from '../suite/kernel-needs.ts'
import type { Plan, Stage } from '../suite/plan-types.ts'
import type { Target } from '../target/target.ts'
import { Unsupported } from '../unsupported.ts'
import { guestCapabilities } from './capabilities.ts'

/** Where stages go, as `--sandbox` and `--kernel` say. */
export interface PlacementWanted {
  sandbox: 'auto' | 'host' | 'vm'
  kernel?: string
  /** Takes a line on what takes long or moves. */
  say: (line: string) => void
}

export interface Place {
  kind: 'host' | 'vm'
  /** What the machine has that the stage would run on; absent: this one, not asked. */
  machine?: Capability[]
}

/** By stage name. What is brought up elsewhere anyway stays with this process. */
export async function placeStages(
  plan: Plan,
  targets: ReadonlyMap<string, Target>,
  wanted: PlacementWanted,
): Promise<ReadonlyMap<string, Place>> {
  const placing = new Placing(wanted)
  const places = new Map<string, Place>()
  for (const stage of plan.stages) {
    const target = targets.get(stage.target)
    const isLocal = wanted.sandbox !== 'host' && target !== undefined && !target.close
    places.set(stage.name, isLocal ? await placing.place(stage) : { kind: 'host' })
  }
  return places
}

class Placing {
  readonly #wanted: PlacementWanted
  readonly #said = new Set<string>()
  #here: Promise<Capability[]> | undefined

  constructor(wanted: PlacementWanted) {
    this.#wanted = wanted
  }

  async place(stage: Stage): Promise<Place> {
    this.#here ??= probe()
    const here = await this.#here
    const needs = kernelNeeds(stage, here)
    if (this.#wanted.sandbox === 'vm') return this.#inVm(here, needs)
    const lacks = here.filter(({ name, ok }) => !ok && needs.includes(name))
    if (lacks.length === 0) return { kind: 'host', machine: here }
    const there = await this.#inVm(here, needs).catch((error: unknown) => this.#stay(lacks, error))
    const helps = there !== undefined && lacks.every(({ name }) => there.machine.find(one => one.name === name)?.ok)
    if (helps)
      for (const { name, found } of lacks)
        this.#say(`${name} is not in this kernel (${found}): a virtual machine has it`)
    return helps ? there : { kind: 'host', machine: here }
  }

  /** Programs are this machine's there too; what is the kernel's to have, that kernel was asked for. */
  async #inVm(here: readonly Capability[], needs: readonly string[]): Promise<{ kind: 'vm'; machine: Capability[] }> {
    requireVm()
    const theirs = await guestCapabilities(this.#wanted.kernel, needs, this.#wanted.say)
    const ours = here.filter(({ name }) => !theirs.some(one => one.name === name))
    return { kind: 'vm', machine: [...ours, ...theirs] }
  }

  /** No virtual machine can be had: what needs one is skipped, for what this machine lacks. */
  #stay(lacks: readonly Capability[], error: unknown): undefined {
    if (!(error instanceof Unsupported)) throw error
    this.#say(`no virtual machine for ${lacks.map(({ name }) => name).join(', ')}: ${error.message} (${error.remedy})`)
    return undefined
  }

  #say(line: string): void {
    if (!this.#said.has(line)) this.#wanted.say(line)
    this.#said.add(line)
  }
}

/** What target and cases ask of a kernel, by name. */
function kernelNeeds(stage: Stage, capabilities: readonly Capability[]): string[] {
  const ofTarget = capabilities.filter(one => one.ofKernel && one.neededFor.includes(stage.target))
  const ofCases = stage.cases.flatMap(({ needs }) => kernelNeedsOf(needs))
  return [...new Set([...ofTarget.map(({ name }) => name), ...ofCases])]
}

const PROGRAMS = ['qemu-system-x86_64', 'busybox', 'setpriv', 'modprobe']

/** Throws why there can be no virtual machine here. */
export function requireVm(): void {
  const missing = PROGRAMS.filter(program => !isInstalled(program))
  const found =
    process.arch !== 'x64'
      ? `a machine of ${process.arch}`
      : process.geteuid?.() !== 0
        ? `user ${process.geteuid?.()}`
        : missing.length > 0
          ? `no ${missing.join(', ')}`
          : undefined
  if (found === undefined) return
  throw new Unsupported({
    feature: '--sandbox vm',
    needs: 'root on x86-64, QEMU, busybox and kmod',
    found,
    remedy: 'npm run setup in the checkout as root, or install qemu-system-x86, busybox-static and kmod',
  })
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some(folder => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
