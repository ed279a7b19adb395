import type { CompiledStream } from '../../generators/stream.ts'
import type { SendRecord } from '../../generators/transmit/engine.ts'
import type { SentColumns } from './protocol.ts'

/** What an engine of the agent hands to the kernel, kept as columns until the runner gets them. */
export class ColumnRecord implements SendRecord {
  private readonly columns = new Map<number, { stampsNs: number[]; lagsNs: number[]; variants: number[] }>()
  private readonly numbers = new Map<CompiledStream, number>()
  private last = 0

  stream(stream: CompiledStream): number {
    this.numbers.set(stream, ++this.last)
    this.columns.set(this.last, { stampsNs: [], lagsNs: [], variants: [] })
    return this.last
  }

  frame(stream: number, _sequence: number, variant: number, stampNs: number, lagNs: number): void {
    const columns = this.columns.get(stream)!
    columns.stampsNs.push(stampNs)
    columns.lagsNs.push(Math.min(lagNs, 0xffff_ffff))
    columns.variants.push(variant)
  }

  /** What has left of these streams, which are forgotten. */
  take(streams: readonly CompiledStream[]): SentColumns[] {
    return streams.map(stream => {
      const number = this.numbers.get(stream) ?? 0
      const { stampsNs, lagsNs, variants } = this.columns.get(number) ?? { stampsNs: [], lagsNs: [], variants: [] }
      this.numbers.delete(stream)
      this.columns.delete(number)
      return {
        firstSequence: stream.firstSequence,
        count: stampsNs.length,
        stampsNs: packed(Float64Array.from(stampsNs)),
        lagsNs: packed(Uint32Array.from(lagsNs)),
        variants: packed(Uint16Array.from(variants)),
      }
    })
  }
}

function packed({ buffer }: Float64Array | Uint32Array | Uint16Array): string {
  return Buffer.from(buffer as ArrayBuffer).toString('base64')
}

/** Writes into the run's own record what an agent's engine wrote into its. */
export function replay(stream: CompiledStream, columns: SentColumns, record: SendRecord): void {
  const number = record.stream(stream)
  const stampsNs = Buffer.from(columns.stampsNs, 'base64')
  const lagsNs = Buffer.from(columns.lagsNs, 'base64')
  const variants = Buffer.from(columns.variants, 'base64')
  for (let k = 0; k < columns.count; k++) {
    const sequence = (columns.firstSequence + k) >>> 0
    record.frame(
      number,
      sequence,
      variants.readUInt16LE(2 * k),
      stampsNs.readDoubleLE(8 * k),
      lagsNs.readUInt32LE(4 * k),
    )
  }
}
