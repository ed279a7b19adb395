import type { Arrival } from './flow-message.ts'

/** Gaps and recent messages that are remembered, to know what comes late and what comes twice. */
const MAX_GAPS = 64
const MAX_RECENT = 256
/** A number so far behind was not delayed: the exporter began anew. */
const MAX_BEHIND = 1 << 16

/** What a message's header said. `missing` is in the unit of the version: messages (v9) or records (v5, IPFIX). */
export interface SequenceStep {
  arrival: Arrival
  /** Numbers that were passed over just now. */
  missing: number
}

/** What the sequence must know of a message before its records are read. */
export interface Numbered {
  sequence: number
  /** The same for two only if one is a copy of the other. */
  fingerprint: string
  /** Without data records the number of an IPFIX message is the next one's as well. */
  isEmpty: boolean
  /** Other signs say that the exporter began anew. */
  isRestart: boolean
}

interface Gap {
  from: number
  count: number
}

/**
 * The sequence numbers of one stream, modulo 2^32. How far a message takes them is said to `advance` when it was read: 1 in v9
 * (RFC 3954 §5.1), its data records in v5 and IPFIX (RFC 7011 §3.1).
 */
export class FlowSequence {
  /** Numbers passed over and not seen since. */
  missing = 0
  #expected: number | undefined
  /** What would follow the last message that lay behind for no known reason. */
  #strayNext: number | undefined
  #gaps: Gap[] = []
  readonly #recent = new Map<number, string>()
  #begun = false

  step(message: Numbered): SequenceStep {
    const arrival = this.#arrival(message)
    const missing = arrival === 'after-gap' ? (message.sequence - (this.#expected as number)) >>> 0 : 0
    if (missing > 0) this.#open({ from: this.#expected as number, count: missing })
    if (arrival === 'restart') this.#forget()
    if (arrival !== 'duplicate' && !message.isEmpty) this.#remember(message)
    this.#begun = true
    return { arrival, missing }
  }

  /** `units` are the numbers that the message held; undefined where nobody knows, as for data without a template. */
  advance({ arrival }: SequenceStep, sequence: number, units: number | undefined): void {
    if (arrival === 'duplicate') return
    const next = units === undefined ? undefined : (sequence + units) >>> 0
    if (arrival !== 'late') {
      this.#expected = next
      this.#strayNext = undefined
    } else if (!this.#fill(sequence, units ?? 0)) this.#strayNext = next
  }

  #arrival({ sequence, fingerprint, isEmpty, isRestart }: Numbered): Arrival {
    if (!this.#begun) return 'first'
    if (isRestart) return 'restart'
    if (this.#expected === undefined) return this.#recent.get(sequence) === fingerprint ? 'duplicate' : 'next'
    const ahead = (sequence - this.#expected) | 0
    if (ahead >= 0) return ahead === 0 ? 'next' : 'after-gap'
    if (isEmpty || this.#gapOf(sequence) >= 0) return 'late'
    const known = this.#recent.get(sequence)
    if (known !== undefined) return known === fingerprint ? 'duplicate' : 'restart'
    return sequence === 0 || sequence === this.#strayNext || -ahead > MAX_BEHIND ? 'restart' : 'late'
  }

  #open(gap: Gap): void {
    this.#gaps.push(gap)
    if (this.#gaps.length > MAX_GAPS) this.#gaps.shift()
    this.missing += gap.count
  }

  #forget(): void {
    this.#gaps = []
    this.#recent.clear()
  }

  #remember({ sequence, fingerprint }: Numbered): void {
    this.#recent.set(sequence, fingerprint)
    const [oldest] = this.#recent.keys()
    if (this.#recent.size > MAX_RECENT && oldest !== undefined) this.#recent.delete(oldest)
  }

  #gapOf(sequence: number): number {
    return this.#gaps.findIndex(({ from, count }) => (sequence - from) >>> 0 < count)
  }

  /** What lay in a gap came after all. */
  #fill(sequence: number, units: number): boolean {
    const index = this.#gapOf(sequence)
    if (index < 0) return false
    const { from, count } = this.#gaps[index] as Gap
    const before = (sequence - from) >>> 0
    const filled = Math.min(units, count - before)
    const behind = { from: (sequence + filled) >>> 0, count: count - before - filled }
    this.#gaps.splice(index, 1, ...[{ from, count: before }, behind].filter(gap => gap.count > 0))
    this.missing -= filled
    return true
  }
}
