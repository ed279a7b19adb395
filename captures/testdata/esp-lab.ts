import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import { type EspCipher, cbcHmacCipher, gcmCipher, HMAC_ICV_BITS, type HmacName } from '../../generators/wire/esp-cipher.ts'
import { parseMac } from '../../generators/wire/address.ts'
import { inside, type VethBed, vethBed } from './veth.ts'

/** One algorithm as this project, `ip xfrm` and tshark each say it; the key is for tests and secret from nobody. */
export interface EspCase {
  name: string
  spi: number
  esn: boolean
  cipher: EspCipher
  /** For `ip xfrm state`. */
  linux: string
  /** Encryption, its key, authentication, its key: the end of a line of tshark's esp_sa. */
  tshark: [string, string, string, string]
  /** As a keys file of castproof has it. */
  keys: string
}

export const LEFT = '198.51.100.1'
export const RIGHT = '198.51.100.2'
/** What is behind the tunnel: the SPI is the last octet. */
const INNER_LEFT = '192.0.2.250'
export const innerRight = (spi: number) => `192.0.2.${spi}`

const octets = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => (from + i * 7) & 255)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function gcm(spi: number, keyBytes: number, icvBits: number, esn: boolean): EspCase {
  const key = octets(spi, keyBytes + 4)
  return {
    name: `AES-${keyBytes * 8}-GCM, ICV ${icvBits}${esn ? ', ESN' : ''}`,
    spi,
    esn,
    cipher: gcmCipher(key, icvBits),
    linux: `aead rfc4106(gcm(aes)) 0x${hex(key)} ${icvBits}`,
    tshark: [`AES-GCM with ${icvBits / 8} octet ICV [RFC4106]`, `0x${hex(key)}`, 'NULL', ''],
    keys: `algorithm: rfc4106(gcm(aes)), key: '${hex(key)}', icvBits: ${icvBits}`,
  }
}

const TSHARK_HMAC: Readonly<Record<string, string>> = {
  'hmac(sha1) 96': 'HMAC-SHA-1-96 [RFC2404]',
  'hmac(sha256) 96': 'HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]',
  'hmac(sha256) 128': 'HMAC-SHA-256-128 [RFC4868]',
  'hmac(sha384) 192': 'HMAC-SHA-384-192 [RFC4868]',
  'hmac(sha512) 256': 'HMAC-SHA-512-256 [RFC4868]',
}
const HMAC_KEY_BYTES: Readonly<Record<HmacName, number>> = {
  'hmac(sha1)': 20,
  'hmac(sha256)': 32,
  'hmac(sha384)': 48,
  'hmac(sha512)': 64,
}

/** `icvBits` undefined: whatever Linux takes when told nothing. */
function cbc(spi: number, keyBytes: number, hmac: HmacName, icvBits: number | undefined, esn: boolean): EspCase {
  const key = octets(spi, keyBytes)
  const macKey = octets(spi + 100, HMAC_KEY_BYTES[hmac])
  const bits = icvBits ?? HMAC_ICV_BITS[hmac][0]
  const auth = icvBits === undefined ? `auth ${hmac} 0x${hex(macKey)}` : `auth-trunc ${hmac} 0x${hex(macKey)} ${icvBits}`
  return {
    name: `AES-${keyBytes * 8}-CBC, ${hmac} ${icvBits ?? 'as Linux cuts it'}${esn ? ', ESN' : ''}`,
    spi,
    esn,
    cipher: cbcHmacCipher(key, hmac, macKey, icvBits),
    linux: `enc cbc(aes) 0x${hex(key)} ${auth}`,
    tshark: ['AES-CBC [RFC3602]', `0x${hex(key)}`, TSHARK_HMAC[`${hmac} ${bits}`] ?? '', `0x${hex(macKey)}`],
    keys: `encryption: cbc(aes), key: '${hex(key)}', integrity: ${hmac}, integrityKey: '${hex(macKey)}'${icvBits === undefined ? '' : `, icvBits: ${icvBits}`}`,
  }
}

/** Every algorithm, key and ICV length, with and without extended sequence numbers. */
export const ESP_CASES: readonly EspCase[] = [
  gcm(1, 16, 64, false),
  gcm(2, 16, 96, false),
  gcm(3, 16, 128, false),
  gcm(4, 16, 128, true),
  gcm(5, 24, 128, false),
  gcm(6, 32, 128, true),
  cbc(7, 16, 'hmac(sha1)', undefined, false),
  cbc(8, 32, 'hmac(sha256)', undefined, false),
  cbc(9, 16, 'hmac(sha256)', 128, false),
  cbc(10, 24, 'hmac(sha384)', undefined, false),
  cbc(11, 32, 'hmac(sha512)', undefined, false),
  cbc(12, 16, 'hmac(sha1)', undefined, true),
  cbc(13, 16, 'hmac(sha512)', undefined, true),
]

/** tshark's ESP preferences for these; it knows no extended numbers. */
export function tsharkSas(cases: readonly EspCase[]): string[] {
  const line = ({ spi, tshark }: EspCase) => ['IPv4', '*', '*', `0x${spi.toString(16).padStart(8, '0')}`, ...tshark]
  return cases.flatMap(one => ['-o', `uat:esp_sa:${line(one).map(field => `"${field}"`).join(',')}`])
}

export interface EspLab extends VethBed {
  rightMac: number
  /** Counters of /proc/net/xfrm_stat at the right end. */
  errors(): Record<string, number>
}

/**
 * Two namespaces with the kernel's own XFRM between them: a tunnel for each case, its inner address ending in the SPI. Throws where
 * the kernel has no ESP. The left end begins with the sequence number `after`, `afterHigh` above it where it is extended.
 */
export function espLab(options: { after?: number; afterHigh?: number } = {}): EspLab {
  const bed = vethBed()
  try {
    const rightMac = address(bed)
    for (const side of ['left', 'right'] as const) {
      batch(bed[side], ESP_CASES.flatMap(one => [stateLine(one, side, options), policyLine(one, side)]))
    }
    return { ...bed, rightMac, errors: () => xfrmErrors(bed.right) }
  } catch (error) {
    bed.close()
    throw error
  }
}

function address({ left, right }: VethBed): number {
  const mac = (netns: Netns, name: string) => JSON.parse(inside(netns, 'ip', '-j', 'link', 'show', name))[0].address
  const [leftMac, rightMac] = [mac(left, 'left'), mac(right, 'right')]
  batch(left, [
    `address add ${LEFT}/24 dev left`,
    `address add ${INNER_LEFT}/32 dev left`,
    `neigh replace ${RIGHT} lladdr ${rightMac} dev left nud permanent`,
    `route add 192.0.2.0/24 via ${RIGHT} dev left src ${INNER_LEFT}`,
  ])
  batch(right, [
    `address add ${RIGHT}/24 dev right`,
    ...ESP_CASES.map(({ spi }) => `address add ${innerRight(spi)}/32 dev right`),
    `neigh replace ${LEFT} lladdr ${leftMac} dev right nud permanent`,
    `route add ${INNER_LEFT}/32 via ${LEFT} dev right`,
  ])
  for (const side of [left, right]) inside(side, 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0')
  return parseMac(rightMac)
}

function stateLine(one: EspCase, side: 'left' | 'right', options: { after?: number; afterHigh?: number }): string {
  const { after = 0, afterHigh = 0 } = options
  const numbers = side === 'left' ? `replay-oseq ${after}` : `replay-seq ${after}`
  const high = side === 'left' ? `replay-oseq-hi ${afterHigh}` : `replay-seq-hi ${afterHigh}`
  const from = after === 0 ? '' : one.esn ? `${numbers} ${high}` : numbers
  return `xfrm state add src ${LEFT} dst ${RIGHT} proto esp spi ${one.spi} reqid ${one.spi} mode tunnel replay-window 32 ${from} ${one.esn ? 'flag esn' : ''} ${one.linux}`
}

function policyLine({ spi }: EspCase, side: 'left' | 'right'): string {
  const dir = side === 'left' ? 'out' : 'in'
  return `xfrm policy add src ${INNER_LEFT}/32 dst ${innerRight(spi)}/32 dir ${dir} tmpl src ${LEFT} dst ${RIGHT} proto esp reqid ${spi} mode tunnel`
}

/** Over standard input: keys are no business of the process list. */
export function batch(netns: Netns, lines: readonly string[]): void {
  execFileSync('nsenter', [`--net=${netns.path}`, 'ip', '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    stdio: ['pipe', 'ignore', 'pipe'],
  })
}

function xfrmErrors(netns: Netns): Record<string, number> {
  const text = inNetns(netns, () => readFileSync('/proc/thread-self/net/xfrm_stat', 'utf8'))
  return Object.fromEntries(text.trim().split('\n').map(line => line.trim().split(/\s+/)).map(([name = '', n]) => [name, Number(n)]))
}

const SEND = `
import json, socket, sys
for dst, payload in json.load(sys.stdin):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('${INNER_LEFT}', 5000))
    s.sendto(bytes.fromhex(payload), (dst, 5001))
    s.close()
`

/** Datagrams of ordinary sockets of the left end, one after the other. */
export function sendDatagrams(bed: VethBed, datagrams: readonly (readonly [dst: string, payload: Uint8Array])[]): void {
  const input = JSON.stringify(datagrams.map(([dst, payload]) => [dst, hex(payload)]))
  execFileSync('nsenter', [`--net=${bed.left.path}`, 'python3', '-c', SEND], { input, stdio: ['pipe', 'ignore', 'pipe'] })
}
