import { z } from 'zod'
import type { FrameLengths, StreamSpec } from '../../../generators/stream-spec.ts'
import { int, type Leaf, leaf, list, mapping, oneOf } from '../leaf.ts'
import { parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'

export function rateShape() {
  return {
    ratePps: int(1, 100_000_000, 'frames a second').exactOptional(),
    bitsPerSecond: int(1, 400_000_000_000, 'bits a second').exactOptional(),
    rate: oneOf(['max']).exactOptional(),
    burst: mapping({ frames: int(1, 1_000_000), gapUs: int(0, 60_000_000) }).exactOptional(),
  }
}

interface RateGiven {
  ratePps?: number
  bitsPerSecond?: number
  rate?: 'max'
}

export function rateOf({ ratePps, bitsPerSecond, rate }: RateGiven): StreamSpec['rate'] {
  if (rate !== undefined) return rate
  return bitsPerSecond === undefined ? { pps: ratePps ?? DEFAULT_PPS } : { bitsPerSecond }
}

const DEFAULT_PPS = 1000

/** IMIX simple: lengths on the wire with FCS 64, 594 (570 plus headers) and 1518 in the ratio 7:4:1; here without FCS. */
const IMIX_SIMPLE = [
  { bytes: 60, weight: 7 },
  { bytes: 590, weight: 4 },
  { bytes: 1514, weight: 1 },
]

const frameBytes = () => int(60, 9014, 'an Ethernet frame length without FCS')

const mix: Leaf<{ bytes: number; weight: number }[]> = z
  .union([z.literal('imix'), z.array(mapping({ bytes: frameBytes(), weight: int(1, 1000) })).min(1)])
  .transform(value => (value === 'imix' ? IMIX_SIMPLE : value)) as unknown as Leaf<{ bytes: number; weight: number }[]>

export function lengthShape() {
  return {
    lengthBytes: frameBytes().exactOptional(),
    sweepBytes: list(frameBytes(), 'frame lengths', { min: 1 }).exactOptional(),
    mix: mix.exactOptional(),
  }
}

export function lengthsOf(send: {
  lengthBytes?: number
  sweepBytes?: number[]
  mix?: { bytes: number; weight: number }[]
}): FrameLengths | undefined {
  if (send.lengthBytes !== undefined) return { bytes: send.lengthBytes }
  if (send.sweepBytes) return { sweepBytes: send.sweepBytes }
  return send.mix ? { mix: send.mix } : undefined
}

/** `[{ group, port }]` as listed, or `{ groups, ports }`: every group with every port. */
export function destinations(names: Names, refs: References): Leaf<{ group: number; port: number }[]> {
  const port = int(1, 65_535, 'a UDP port')
  const listed = mapping({ group: refs.group, port: port.exactOptional() })
  const product = mapping({ groups: refs.groups, ports: list(port, 'ports', { min: 1 }).exactOptional() })
  return leaf<{ group: number; port: number }[]>(
    { anyOf: [{ type: 'array' }, { type: 'object', properties: { groups: {}, ports: { type: 'array' } } }] },
    (value, problem) => {
      if (Array.isArray(value)) {
        const all = value.map((item, i) => parsed(listed, item, problem, [i]))
        return all.some(each => each === undefined)
          ? undefined
          : all.map(each => ({ group: each!.group, port: each!.port ?? names.port }))
      }
      const both = parsed(product, value, problem)
      return both?.groups.flatMap(group => (both.ports ?? [names.port]).map(each => ({ group, port: each })))
    },
  )
}
