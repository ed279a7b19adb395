import type { EspKey } from '../../captures/esp-opener.ts'
import { DERIVATIONS, type Derivation, deriveKeys, type TunnelEnd } from './derive.ts'
import { cipherOf, type IpsecSecret } from './secret.ts'

/** A node as far as keys are made of it. */
export interface KeyNode {
  name: string
  /** Tunnel addresses: the node's own, the router's. The first of one node goes with the first of another, and so on. */
  addresses: readonly number[]
  bootId?: string
}

const KEY_NAMES: Readonly<Record<Derivation, string>> = {
  'boot-ids': 'pair key with boot IDs',
  addresses: 'pair key without boot IDs',
  global: 'global key',
}

/**
 * Whatever the secret can have become between these nodes: releases differ in how they derive keys and whether numbers are
 * extended, and a packet that opens says which it was. With boot IDs of a pair missing, its keys of that kind are left out.
 */
export function pairKeys(secrets: readonly IpsecSecret[], nodes: readonly KeyNode[]): EspKey[] {
  return secrets.flatMap(secret =>
    nodes.flatMap(from => nodes.flatMap(to => (from === to ? [] : between(secret, from, to)))),
  )
}

function between(secret: IpsecSecret, from: KeyNode, to: KeyNode): EspKey[] {
  const pairs = from.addresses.flatMap((address, i) => {
    const other = to.addresses[i]
    return other === undefined ? [] : [[end(from, address), end(to, other)] as const]
  })
  const known = from.bootId !== undefined && to.bootId !== undefined
  const derivations = DERIVATIONS.filter(one => known || one !== 'boot-ids')
  return pairs.flatMap(([src, dst]) =>
    derivations.flatMap(derivation => {
      const cipher = cipherOf(deriveKeys(secret.keys, derivation, src, dst))
      const scope = derivation === 'global' ? ('global' as const) : ('pair' as const)
      const label = `${from.name} to ${to.name}, ${KEY_NAMES[derivation]}`
      // `+` has always meant both, so that is tried first.
      return [secret.perPair, !secret.perPair].map(esn => ({
        src: src.address,
        dst: dst.address,
        sa: { spi: secret.spi, cipher, esn },
        label,
        scope,
      }))
    }),
  )
}

function end(node: KeyNode, address: number): TunnelEnd {
  return { address, ...(node.bootId === undefined ? {} : { bootId: node.bootId }) }
}

/** The secret as it is, between any addresses: what a capture without `+` needs. */
export function globalKeys(secrets: readonly IpsecSecret[]): EspKey[] {
  return secrets.flatMap(({ spi, perPair, keys }) => {
    const cipher = cipherOf(keys)
    return [perPair, !perPair].map(esn => ({
      sa: { spi, cipher, esn },
      label: KEY_NAMES.global,
      scope: 'global' as const,
    }))
  })
}
