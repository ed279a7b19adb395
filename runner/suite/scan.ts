import { asIpv4, isMulticast } from '../../generators/wire/address.ts'
import { isMapping } from './leaf.ts'
import type { Path } from './source.ts'
import { STEP_KINDS, type StepKind } from './steps/read-step.ts'

/** A step as it can be seen before it is read: enough for others to refer to it. */
export interface SeenStep {
  id: string
  /** Whether the id is the author's. */
  given: boolean
  kind: StepKind
  path: Path
  /** Place among its siblings, from 0, and the steps inside its `while`. */
  inner: SeenStep[]
}

/** Steps of a raw list that will run; what is not shaped like a step is left to the schema. */
export function scanSteps(steps: unknown, under: Path = ['steps'], prefix = 'step'): SeenStep[] {
  if (!Array.isArray(steps)) return []
  return steps.flatMap((item: unknown, i): SeenStep[] => {
    if (!isMapping(item) || item['when'] === false) return []
    const kind = STEP_KINDS.find(each => each in item)
    if (kind === undefined) return []
    const body = isMapping(item[kind]) ? item[kind] : {}
    const path = [...under, i, kind]
    const given = typeof body['id'] === 'string'
    const id = given ? String(body['id']) : `${prefix}${i + 1}`
    return [{ id, given, kind, path, inner: scanSteps(body['while'], [...path, 'while'], `${id}.`) }]
  })
}

export function flatSteps(steps: readonly SeenStep[]): SeenStep[] {
  return steps.flatMap(step => [step, ...flatSteps(step.inner)])
}

/** Every text in a value, with its path. */
export function* textsIn(value: unknown, path: Path = []): Generator<{ text: string; path: Path }> {
  if (typeof value === 'string') yield { text: value, path }
  else if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* textsIn(item, [...path, i])
  else if (isMapping(value)) for (const [key, inner] of Object.entries(value)) yield* textsIn(inner, [...path, key])
}

const GROUP = /^\$(?:\{([a-zA-Z][\w-]*)\}|([a-zA-Z][\w-]*))(?:\.\d+)?$/

/** Groups written as `$name`, with the places where they are. */
export function groupUses(value: unknown): Map<string, Path[]> {
  const uses = new Map<string, Path[]>()
  for (const { text, path } of textsIn(value)) {
    const match = GROUP.exec(text)
    const name = match?.[1] ?? match?.[2]
    if (name !== undefined) uses.set(name, [...(uses.get(name) ?? []), path])
  }
  return uses
}

/** Literal groups: dotted text and the words of `hex` messages, without 224.0.0.0/24, which nobody leases (RFC 5771 §4). */
export function literalGroups(value: unknown): number[] {
  const groups = new Set<number>()
  for (const { text, path } of textsIn(value)) {
    const words = path.at(-1) === 'hex' ? wordsOf(text) : [asIpv4(text)]
    for (const word of words) if (word !== undefined && isMulticast(word) && word >>> 8 !== 0xe00000) groups.add(word)
  }
  return [...groups].sort((a, b) => a - b)
}

/** 32-bit words behind the first one, which holds type and checksum. */
function wordsOf(hex: string): number[] {
  const digits = hex.replaceAll(/[\s:]/g, '')
  return Array.from({ length: Math.floor(digits.length / 8) }, (_, i) =>
    Number.parseInt(digits.slice(8 * i, 8 * i + 8), 16),
  ).slice(1)
}
