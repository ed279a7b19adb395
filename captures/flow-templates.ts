import { type FlowTemplate, sameTemplate } from '../generators/wire/flow-template.ts'
import type { FlowMessage } from './flow-message.ts'

/** Fields of all templates together, and octets that wait: a stranger who invents either must not fill the memory. */
const MAX_FIELDS = 1 << 17
const MAX_HELD_BYTES = 4 << 20

interface Known {
  template: FlowTemplate
  receivedNs: bigint
}

/** Templates by stream and ID; when there are too many, those of the stream that was first go first. */
export class FlowTemplates {
  readonly #streams = new Map<string, Map<number, Known>>()
  readonly #lifeNs: bigint
  #fields = 0

  /** `lifeSeconds`: a template that was not refreshed for so long is not used any more (RFC 3954 §9). */
  constructor(lifeSeconds: number) {
    this.#lifeNs = BigInt(Math.round(lifeSeconds * 1e9))
  }

  get fields(): number {
    return this.#fields
  }

  /** True if there was another of that ID. */
  set(stream: string, template: FlowTemplate, receivedNs: bigint): boolean {
    const before = this.#streams.get(stream)?.get(template.id)
    this.delete(stream, template.id)
    const same = before !== undefined && sameTemplate(before.template, template)
    const known = this.#streams.get(stream) ?? new Map<number, Known>()
    this.#streams.set(stream, known)
    // The one at hand stays: readers keep what they worked out for it.
    known.set(template.id, { template: same ? before.template : template, receivedNs })
    this.#fields += template.fields.length
    while (this.#fields > MAX_FIELDS) this.#dropFirst()
    return before !== undefined && !same
  }

  get(stream: string, id: number, nowNs: bigint): FlowTemplate | undefined {
    const known = this.#streams.get(stream)?.get(id)
    if (!known) return undefined
    if (nowNs - known.receivedNs <= this.#lifeNs) return known.template
    this.delete(stream, id)
    return undefined
  }

  delete(stream: string, id: number): boolean {
    const known = this.#streams.get(stream)
    this.#fields -= known?.get(id)?.template.fields.length ?? 0
    const was = known?.delete(id) ?? false
    if (known?.size === 0) this.#streams.delete(stream)
    return was
  }

  /** All of a stream, or those that `which` picks. */
  clear(stream: string, which: (template: FlowTemplate) => boolean = () => true): void {
    for (const [id, { template }] of this.#streams.get(stream) ?? []) if (which(template)) this.delete(stream, id)
  }

  #dropFirst(): void {
    for (const [stream, known] of this.#streams) for (const id of known.keys()) return void this.delete(stream, id)
  }
}

/** A Data FlowSet whose template has not come yet: a copy of its bytes, from which `message.at` lies as far back as it did. */
export interface HeldFlowSet {
  stream: string
  id: number
  message: FlowMessage
  bytes: Uint8Array
}

/** What waits for its template (RFC 3954 §9); the first that came is given up when it is too much. */
export class HeldFlowSets {
  readonly #streams = new Map<string, Map<number, HeldFlowSet[]>>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Those that had to be given up for it. */
  hold(one: HeldFlowSet): HeldFlowSet[] {
    const ofStream = this.#streams.get(one.stream) ?? new Map<number, HeldFlowSet[]>()
    this.#streams.set(one.stream, ofStream)
    const sets = ofStream.get(one.id) ?? []
    ofStream.set(one.id, sets)
    sets.push(one)
    this.#bytes += weightOf(one)
    return this.#bytes > MAX_HELD_BYTES ? this.#takeFirst() : []
  }

  /** Takes out what waits for one template, for any of a stream, or all, in the order it came. */
  take(stream?: string, id?: number): HeldFlowSet[] {
    const streams = stream === undefined ? [...this.#streams.keys()] : [stream]
    const taken = streams.flatMap(key => this.#takeOf(key, id))
    this.#bytes -= taken.reduce((sum, one) => sum + weightOf(one), 0)
    return taken
  }

  #takeOf(stream: string, id: number | undefined): HeldFlowSet[] {
    const ofStream = this.#streams.get(stream)
    if (!ofStream) return []
    const taken = id === undefined ? [...ofStream.values()].flat() : (ofStream.get(id) ?? [])
    if (id === undefined) ofStream.clear()
    else ofStream.delete(id)
    if (ofStream.size === 0) this.#streams.delete(stream)
    return taken
  }

  #takeFirst(): HeldFlowSet[] {
    for (const [stream, ofStream] of this.#streams) for (const id of ofStream.keys()) return this.take(stream, id)
    return []
  }
}

/** The objects around the bytes weigh as well: a million empty sets are not free. */
function weightOf({ bytes }: HeldFlowSet): number {
  return bytes.length + 512
}
