import { formatIpv4 } from '../../generators/wire/address.ts'
import type { KeyBytes } from './key-bytes.ts'
import type { EspKeys } from './secret.ts'

/**
 * What is encrypted: VXLAN between nodes (ESP on `eth0`), or unicast between pods before it goes into VXLAN (ESP on
 * `cilium_vxlan`).
 */
export type EspLayer = 'overlay' | 'pod'

/** One direction of one pair of nodes. */
export interface Tunnel {
  layer: EspLayer
  /** Tunnel ends: the nodes' addresses, or their routers'. */
  src: number
  dst: number
  /** The sending node's own address: in the mark of what comes in. */
  node: number
  /** What is encrypted, as `ip xfrm policy` selects it. */
  selector: string
}

/** Encryption without integrity: faults only. */
export interface OpenKeys {
  kind: 'open'
  encryption: 'cbc(aes)'
  encryptionKey: KeyBytes
}

/** How a state counts and checks (RFC 4303 §2.2.1, §3.4.3). */
export interface Counting {
  esn: boolean
  windowPackets: number
  /** 32-bit numbers start again after the last, which RFC 4303 §3.3.3 forbids. */
  cycles?: boolean
}

/** Of policies that one tunnel has on a node. */
export type PolicyDirection = 'out' | 'in'

/** Cilium's: 1 for what pods send, 2 for the overlay. */
const REQID: Readonly<Record<EspLayer, number>> = { pod: 1, overlay: 2 }
const MARK_DECRYPT = 0x0d00
const MARK_OVERLAY = 0x0400
const POLICY_PRIORITY = 2000
const BLOCK_PRIORITY = 4000
export const VXLAN_SELECTOR = 'proto udp dport 8472'

/** States and policies as lines for `ip -batch -`: keys go by standard input alone, for arguments can be read by everybody. */
export function addState(
  tunnel: Tunnel,
  direction: PolicyDirection,
  spi: number,
  keys: EspKeys | OpenKeys,
  counting: Counting,
): string {
  const window = counting.windowPackets > 0 ? ` replay-window ${counting.windowPackets}` : ''
  const esn = counting.esn ? ' flag esn' : counting.cycles ? ' extra-flag oseq-may-wrap' : ''
  const mark = direction === 'in' ? ` ${decryptMark(tunnel)}` : ''
  return `xfrm state add ${stateId(tunnel, spi)} reqid ${REQID[tunnel.layer]} mode tunnel${mark}${window}${esn} ${algorithms(keys)}`
}

export function deleteState(tunnel: Tunnel, direction: PolicyDirection, spi: number): string {
  const mark = direction === 'in' ? ` ${markOf(tunnel)}` : ''
  return `xfrm state delete ${stateId(tunnel, spi)}${mark}`
}

function stateId({ src, dst }: Tunnel, spi: number): string {
  return `src ${formatIpv4(src)} dst ${formatIpv4(dst)} proto esp spi ${spi}`
}

function markOf({ node }: Tunnel): string {
  return `mark ${(((node & 0xffff) << 16) | MARK_DECRYPT) >>> 0} mask 0xffff0f00`
}

/** The datapath knows by the mark what pods get from XFRM; the overlay's packets are not theirs, and iproute2 sets no mark of 0. */
function decryptMark(tunnel: Tunnel): string {
  const after = tunnel.layer === 'pod' ? MARK_DECRYPT : MARK_OVERLAY
  return `${markOf(tunnel)} output-mark ${after} mask 0xffffffff`
}

function algorithms(keys: EspKeys | OpenKeys): string {
  const hex = (bytes: Uint8Array) => `0x${Buffer.from(bytes).toString('hex')}`
  if (keys.kind === 'aead') return `aead ${keys.algorithm} ${hex(keys.key.bytes)} ${keys.icvBits}`
  if (keys.kind === 'open') return `auth digest_null "" enc ${keys.encryption} ${hex(keys.encryptionKey.bytes)}`
  return `auth ${keys.integrity} ${hex(keys.integrityKey.bytes)} enc ${keys.encryption} ${hex(keys.encryptionKey.bytes)}`
}

/** `optional`, on the way in: what comes in clear is taken too, which only faults want. */
export function putPolicy(tunnel: Tunnel, direction: PolicyDirection, spi: number, optional = false): string {
  // A sender says which state, for it may have two; a receiver takes what either has opened.
  const which = direction === 'out' ? ` spi ${spi}` : ''
  const ends = `src ${formatIpv4(tunnel.src)} dst ${formatIpv4(tunnel.dst)}`
  const level = optional ? 'use' : 'required'
  return `xfrm policy update ${tunnel.selector} dir ${direction} priority ${POLICY_PRIORITY} tmpl ${ends} proto esp${which} reqid ${REQID[tunnel.layer]} mode tunnel level ${level}`
}

/** What carries the mark leaves as it is: faults only. */
export function passMarked(tunnel: Tunnel, mark: number): string {
  return `xfrm policy update ${tunnel.selector} mark ${mark} mask 0xffff dir out action allow priority 1`
}

/** What the tunnel is for leaves as it is: faults only. */
export function passAll(tunnel: Tunnel): string {
  return `xfrm policy update ${tunnel.selector} dir out action allow priority ${POLICY_PRIORITY}`
}

export function deletePolicy(tunnel: Tunnel, direction: PolicyDirection): string {
  return `xfrm policy delete ${tunnel.selector} dir ${direction}`
}

/** What no policy encrypts must neither leave nor come in: while states change, and towards nodes without keys. */
export function blockPolicy(selector: string, direction: PolicyDirection): string {
  return `xfrm policy update ${selector} dir ${direction} action block priority ${BLOCK_PRIORITY}`
}

export const FLUSH = ['xfrm policy flush', 'xfrm state flush']
