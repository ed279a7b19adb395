import { createHash } from 'node:crypto'
import { writeU32 } from '../../generators/wire/field.ts'
import { KeyBytes } from './key-bytes.ts'
import type { EspKeys } from './secret.ts'

/**
 * How Cilium made a direction's key from the secret: `global`, the secret itself for all (until 1.17, without `+`); `addresses`, from the
 * pair's tunnel addresses (the first releases of `+`); `boot-ids`, from those and both boot IDs, so that a reboot never re-uses numbers.
 */
export const DERIVATIONS = ['boot-ids', 'addresses', 'global'] as const
export type Derivation = (typeof DERIVATIONS)[number]

/** One end of a tunnel. */
export interface TunnelEnd {
  address: number
  /** /proc/sys/kernel/random/boot_id: 36 characters. */
  bootId?: string
}

const BOOT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function isBootId(text: string): boolean {
  return BOOT_ID.test(text)
}

/**
 * The keys of packets from one end to the other; the way back has others. Each key is derived for itself, an AEAD's with its salt.
 * RangeError when the derivation needs boot IDs that are not there.
 */
export function deriveKeys(keys: EspKeys, derivation: Derivation, from: TunnelEnd, to: TunnelEnd): EspKeys {
  if (derivation === 'global') return keys
  const derive = (key: KeyBytes) => deriveKey(key, derivation, from, to)
  if (keys.kind === 'aead') return { ...keys, key: derive(keys.key) }
  return { ...keys, encryptionKey: derive(keys.encryptionKey), integrityKey: derive(keys.integrityKey) }
}

const SHA256_BYTES = 32

function deriveKey(global: KeyBytes, derivation: Derivation, from: TunnelEnd, to: TunnelEnd): KeyBytes {
  const hash = createHash(global.length <= SHA256_BYTES ? 'sha256' : 'sha512')
  hash.update(global.bytes).update(octets(from.address)).update(octets(to.address))
  if (derivation === 'boot-ids') hash.update(bootIdOf(from)).update(bootIdOf(to))
  const derived = hash.digest()
  if (global.length > derived.length)
    throw new RangeError(`a key of ${global.length} octets is longer than any derived one`)
  return new KeyBytes(Uint8Array.from(derived.subarray(0, global.length)))
}

function octets(address: number): Uint8Array {
  const bytes = new Uint8Array(4)
  writeU32(bytes, 0, address)
  return bytes
}

function bootIdOf({ bootId }: TunnelEnd): string {
  if (bootId === undefined || !isBootId(bootId))
    throw new RangeError('the boot ID of a node is missing or not 36 characters')
  return bootId
}
