import { parseIpv4 } from '../../generators/wire/address.ts'
import { UserError } from '../suite/errors.ts'
import type { PodNetwork } from './node-network.ts'

/** The usable addresses of a node's network: without the first and the last one; `first` is the node's own. */
export function podNetwork(text: string): PodNetwork {
  const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(text)
  const bits = Number(match?.[2])
  if (!match?.[1] || bits < 8 || bits > 30)
    throw new UserError('pod-network', `${text} is not an IPv4 network for pods`, { hint: 'such as 10.244.1.0/24' })
  const sizeOf = 2 ** (32 - bits)
  const base = Math.floor(parseIpv4(match[1]) / sizeOf) * sizeOf
  return { text, first: base + 1, last: base + sizeOf - 2 }
}

/** Hands out addresses in turn, so that one just given back is not somebody else's the next moment. */
export class PodAddresses {
  readonly #network: PodNetwork
  #next: number

  constructor(network: PodNetwork, taken: Iterable<number> = []) {
    this.#network = network
    this.#next = Math.max(network.first, ...taken) + 1
  }

  /** undefined: all are taken. */
  take(taken: ReadonlySet<number>): number | undefined {
    const { first, last } = this.#network
    for (let tried = first; tried < last; tried++) {
      const address = this.#next > last ? first + 1 : this.#next
      this.#next = address + 1
      if (!taken.has(address)) return address
    }
    return undefined
  }
}
