import { fragment } from '../../generators/fragment.ts'
import { buildFrame } from '../../generators/frame.ts'
import { hexOf } from '../../generators/hex.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { type EspContent, type EspSa, sealEsp } from '../../generators/wire/esp-seal.ts'
import { ipv4, ipv4End } from '../../generators/wire/ipv4.ts'
import { type KeyNode, pairKeys } from '../ipsec/pair-keys.ts'
import { parseSecret } from '../ipsec/secret.ts'
import { Scenario, type SeenFrame } from './scenario.ts'

const SECRET = `3+ rfc4106(gcm(aes)) ${'a1b2c3d4e5'.repeat(4)} 128`
const ROTATED = `4+ rfc4106(gcm(aes)) ${'0f1e2d3c4b'.repeat(4)} 128`
const BOOT_IDS = ['11111111-2222-3333-4444-555555555555', 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee']

/** Like nothing else. */
const PAYLOAD = hexOf(Uint8Array.from({ length: 120 }, (_, i) => (i * 37 + 11) & 255))

/** How one packet is sealed, for a test to change. */
export interface Sealing {
  from: string
  to: string
  /** From 1, in each direction. */
  packet: number
  content: EspContent
  /** Derivation whose key is taken. */
  derivation: 'boot-ids' | 'global'
  spi: 3 | 4
  fragmentBytes?: number
}

/**
 * For tests: a scenario in which encryption was off while `clear` was sent, and on when `s1` was. On uplinks that stream and its
 * guards are ESP, and decrypted once more where they come in, as Linux shows them.
 */
export class EncryptedScenario extends Scenario {
  readonly change: (sealing: Sealing, frame: SeenFrame) => void

  constructor(change: (sealing: Sealing, frame: SeenFrame) => void = () => {}, options: { members?: string[] } = {}) {
    super()
    this.change = change
    const { members = ['rx', 'far', 'far2'] } = options
    this.site.encryption = { mode: 'overlay-in-esp' }
    this.keys = keysYaml(this.keyNodes())
    const send = (id: string) => ({ id, line: 1, action: 'snapshot' as const })
    this.toggle('off')
    this.step(send('clear'), () => void this.sendWhole('clear', ['rx', 'far', 'far2'], { payload: PAYLOAD }))
    this.toggle('on')
    const fromNs = this.nowNs
    this.step(send('s1'), () => void this.sendWhole('s1', members, { payload: PAYLOAD }))
    this.seal(fromNs)
  }

  /** As the step `encryption` leaves it. */
  private toggle(does: 'on' | 'off'): void {
    const nodes = this.site.nodes.map(({ name }) => name)
    this.step({ id: `encryption-${does}`, line: 1, action: 'encryption', do: does, nodes })
  }

  private keyNodes(): KeyNode[] {
    return this.site.nodes.map(({ name, address }, i) => ({ name, addresses: [address], bootId: BOOT_IDS[i] ?? '' }))
  }

  private seal(fromNs: number): void {
    const counters = new Map<string, number>()
    const sealed = new Map<Uint8Array, Uint8Array[]>()
    const frames: SeenFrame[] = []
    for (const frame of [...this.frames].sort((a, b) => a.timeNs - b.timeNs)) {
      const node = this.site.nodes.find(({ uplinkTap }) => uplinkTap === frame.tap)?.name
      if (node === undefined || frame.timeNs < fromNs) {
        frames.push(frame)
        continue
      }
      const packets = sealed.get(frame.bytes) ?? this.sealFrame(frame, node, counters)
      sealed.set(frame.bytes, packets)
      for (const bytes of packets) frames.push({ ...unknown(frame), bytes })
      if (frame.direction === 'in') frames.push({ ...frame, timeNs: frame.timeNs + 50 })
    }
    this.frames = frames
  }

  private sealFrame(frame: SeenFrame, from: string, counters: Map<string, number>): Uint8Array[] {
    const [src, dst] = [ipv4.fields.src, ipv4.fields.dst].map(field => field.get(frame.bytes, 14)) as [number, number]
    const to = this.site.nodes.find(({ address }) => address === dst)?.name ?? ''
    const packet = (counters.get(`${from} ${to}`) ?? 0) + 1
    counters.set(`${from} ${to}`, packet)
    const payload = frame.bytes.slice(14, ipv4End(frame.bytes, 14, frame.bytes.length))
    const sealing: Sealing = {
      from,
      to,
      packet,
      content: { payload, sequence: packet },
      derivation: 'boot-ids',
      spi: 3,
    }
    this.change(sealing, frame)
    const esp = sealEsp(this.saOf(sealing), sealing.content)
    const made = buildFrame({
      ethernet: { src: 0x0a00_0000_0001, dst: 0x0a00_0000_0002 },
      ipv4: { src, dst, protocol: 50, id: packet },
      payload: hexOf(esp),
    })
    return sealing.fragmentBytes === undefined ? [made] : fragment(made, sealing.fragmentBytes)
  }

  private saOf({ from, to, derivation, spi }: Sealing): EspSa {
    const label = derivation === 'global' ? 'global key' : 'pair key with boot IDs'
    const keys = pairKeys([parseSecret(spi === 3 ? SECRET : ROTATED, 'test')], this.keyNodes())
    const key = keys.find(one => one.label === `${from} to ${to}, ${label}` && one.sa.esn)
    if (!key) throw new RangeError(`no key from ${from} to ${to}`)
    return key.sa
  }
}

function unknown({ stream: _, ...frame }: SeenFrame): SeenFrame {
  return { ...frame, levels: 0, innerAt: 0, sequence: 0, fragmentOffset: 0 }
}

function keysYaml(nodes: readonly KeyNode[]): string {
  const lines = nodes.map(
    ({ name, addresses, bootId }) =>
      `    - { name: ${name}, addresses: [${addresses.map(formatIpv4).join(', ')}], bootId: ${bootId} }`,
  )
  return `castproof: 1\ncilium:\n  secret: |\n    ${SECRET}\n    ${ROTATED}\n  nodes:\n${lines.join('\n')}\n`
}
