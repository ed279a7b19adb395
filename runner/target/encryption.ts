import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { EncryptionFaults, MARK_CLEAR } from '../../bpf/encryption-faults.ts'
import { inNetns } from '../../generators/linux/netns.ts'
import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import { deriveKeys, type TunnelEnd } from '../ipsec/derive.ts'
import { KeyBytes } from '../ipsec/key-bytes.ts'
import { type EspKeys, type IpsecSecret, MAX_CILIUM_SPI, parseSecret } from '../ipsec/secret.ts'
import {
  addState,
  blockPolicy,
  type Counting,
  deletePolicy,
  deleteState,
  type EspLayer,
  FLUSH,
  type OpenKeys,
  type PolicyDirection,
  passAll,
  passMarked,
  putPolicy,
  type Tunnel,
  VXLAN_SELECTOR,
} from '../ipsec/xfrm.ts'
import type { XfrmState } from '../observation.ts'
import type { EncryptionTopology } from '../suite/plan-types.ts'
import type { BedNode } from './bed.ts'
import { Wrongs } from './encryption-faults.ts'
import { IpSession } from './ip-session.ts'
import { ip, writeSysctl } from './namespaces.ts'
import type { SiteEncryption, TunnelChoice } from './target.ts'
import { ipWithKeys, readStates, readXfrmStat } from './xfrm-kernel.ts'

const FIRST_SPI = 3
/** Of a fault: as `replay` with `alter: spi` sends it. */
export const UNKNOWN_SPI = 0x1f3
/** A full-size packet of a pod and what tunnel mode puts around it. */
const OVERLAY_MTU_BYTES = 1600

/** Octets of the parts of a secret. */
const ALGORITHMS: Readonly<Record<EncryptionTopology['algorithm'], (spi: number) => string>> = {
  'aes-gcm': spi => `${spi}+ rfc4106(gcm(aes)) ${randomHex(20)} 128`,
  'aes-gcm-256': spi => `${spi}+ rfc4106(gcm(aes)) ${randomHex(36)} 128`,
  'aes-cbc-sha256': spi => `${spi}+ hmac(sha256) ${randomHex(32)} cbc(aes) ${randomHex(16)}`,
  'aes-cbc-sha512': spi => `${spi}+ hmac(sha512) ${randomHex(64)} cbc(aes) ${randomHex(32)}`,
}

function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex')
}

/**
 * ESP between the nodes of a bed, by the kernel's XFRM: states and policies as Cilium installs them, from a secret in its
 * format that lives as long as the bed. Keys reach the kernel on standard input and nothing else.
 */
export class Encryption implements SiteEncryption {
  readonly options: EncryptionTopology
  private readonly nodes: readonly BedNode[]
  private readonly vni: number
  private readonly setRouter: (node: string, address: number) => void
  /** Every boot of a node, the present one last. */
  private readonly boots: { node: BedNode; bootId: string }[]
  /** Every secret there was, oldest first. */
  private readonly secrets: string[] = []
  private current: IpsecSecret
  /** During a rotation: what the current one takes over from. */
  private retiring: IpsecSecret | undefined
  private readonly off = new Set<string>()
  private changed = false
  private wrongs = new Wrongs([])
  /** What a fault has put off. */
  private late: Promise<void> = Promise.resolve()
  private programs: EncryptionFaults[] = []
  private readonly sessions = new Map<BedNode, IpSession>()

  constructor(
    nodes: readonly BedNode[],
    options: EncryptionTopology,
    datapath: { vni: number; setRouter: (node: string, address: number) => void },
  ) {
    this.vni = datapath.vni
    this.setRouter = datapath.setRouter
    this.nodes = nodes
    this.options = options
    this.boots = nodes.map(node => ({ node, bootId: randomUUID() }))
    this.current = this.newSecret(FIRST_SPI)
  }

  private newSecret(spi: number): IpsecSecret {
    const line = ALGORITHMS[this.options.algorithm](spi)
    this.secrets.push(line)
    return parseSecret(line, "the run's secret")
  }

  /** For `castproof decrypt --keys` and the judge: docs/encryption.md has the format. */
  keysFile(): string {
    const nodes = this.boots.map(
      ({ node, bootId }) =>
        `    - { name: ${node.name}, addresses: [${formatIpv4(node.address)}, ${formatIpv4(node.router)}], bootId: ${bootId} }`,
    )
    const secrets = this.secrets.map(line => `    ${line}`)
    return ['castproof: 1', 'cilium:', '  secret: |', ...secrets, '  nodes:', ...nodes, ''].join('\n')
  }

  /** What unicast between pods needs of the stack, once: routes into the overlay to the other routers and their pods. */
  async prepare(): Promise<void> {
    if (!this.layers.includes('pod')) return
    for (const node of this.nodes) inNetns(node.ns, () => writeSysctl('/proc/sys/net/ipv4/ip_forward', '1'))
    await Promise.all(this.nodes.map(node => ip(node.ns, this.routes(node))))
  }

  private routes(node: BedNode): string[] {
    const others = this.nodes.filter(other => other !== node)
    return [
      `link set cilium_vxlan mtu ${OVERLAY_MTU_BYTES}`,
      `addr add ${formatIpv4(node.router)}/32 dev cilium_vxlan`,
      ...others.flatMap(other => {
        const router = formatIpv4(other.router)
        const tunnel = `encap ip id ${this.vni} dst ${formatIpv4(other.address)} ttl 64`
        return [
          `neigh add ${router} lladdr ${formatMac(other.overlayMac)} dev cilium_vxlan nud permanent`,
          `route add ${router}/32 ${tunnel} dev cilium_vxlan`,
          `route add ${formatIpv4(other.podNetwork)}/16 ${tunnel} via ${router} dev cilium_vxlan onlink`,
        ]
      }),
    ]
  }

  /** Tells the datapath whether unicast between pods goes through the stack, where policies encrypt it. */
  private tellDatapath(): void {
    if (!this.layers.includes('pod')) return
    const clear = this.wrongs.has('pod-unicast-in-clear')
    for (const { name, router } of this.nodes) this.setRouter(name, clear || this.off.has(name) ? 0 : router)
  }

  /** States and policies of every node, from nothing, with keys that were never used. */
  async install(faults: readonly string[]): Promise<void> {
    await this.late
    this.secrets.length = 0
    this.wrongs = new Wrongs(faults)
    this.attachFaults()
    await this.renew()
  }

  private attachFaults(): void {
    for (const programs of this.programs.splice(0)) programs.close()
    const twice = this.wrongs.has('sent-twice')
    if (this.wrongs.pick === 'none' && !twice) return
    const last = this.nodes.at(-1)
    for (const node of this.nodes) {
      const programs = EncryptionFaults.load(this.wrongs.pick, last?.address ?? 0)
      this.programs.push(programs)
      if (twice) programs.sendTwice(node.ns, node.uplinkIndex)
      else programs.markClear(node.ns, node.overlayIndex)
    }
  }

  /** Programs go with the interfaces they are attached to. */
  async close(): Promise<void> {
    for (const programs of this.programs.splice(0)) programs.close()
    await this.late
    await Promise.all([...this.sessions.values()].map(session => session.close()))
    this.sessions.clear()
  }

  /** As after `install`; where nothing was changed, nothing is done. */
  async restore(): Promise<void> {
    await this.late
    if (this.changed) await this.renew()
  }

  private async renew(): Promise<void> {
    this.changed = false
    this.off.clear()
    this.retiring = undefined
    this.current = this.newSecret(FIRST_SPI)
    await this.each(this.nodes, node => [...FLUSH, ...this.stateLines(node, this.current), ...this.policies(node)])
    this.tellDatapath()
  }

  /** Policies first where they send, then where they receive: in between there is loss, and nothing in clear. */
  async switchOn(names: readonly string[]): Promise<void> {
    this.changed = true
    await this.late
    for (const name of names) this.off.delete(name)
    if (this.wrongs.has('on-too-late')) this.late = pause().then(() => this.protect(names))
    else await this.protect(names)
  }

  private async protect(names: readonly string[]): Promise<void> {
    await this.each(this.named(names), node => this.policies(node, ['out']))
    await this.each(this.named(names), node => this.policies(node, ['in']))
    this.tellDatapath()
  }

  /** States stay: their numbers go on when it is switched on again. */
  async switchOff(names: readonly string[]): Promise<void> {
    this.changed = true
    await this.late
    for (const name of names) this.off.add(name)
    await this.unprotect(this.named(names))
    this.tellDatapath()
  }

  /** A node that was never told the secret. */
  async forget(names: readonly string[]): Promise<void> {
    this.changed = true
    for (const name of names) this.off.add(name)
    await this.each(this.named(names), () => FLUSH)
    if (this.wrongs.has('clear-to-node-without-keys')) await this.passTo(names)
    this.tellDatapath()
  }

  private async passTo(names: readonly string[]): Promise<void> {
    await this.each(this.nodes, node =>
      this.tunnels(node)
        .filter(({ direction, peer }) => direction === 'out' && names.includes(peer.name))
        .map(({ tunnel }) => passAll(tunnel)),
    )
  }

  private unprotect(nodes: readonly BedNode[]): Promise<void> {
    return this.each(nodes, () => ['xfrm policy flush'])
  }

  async reboot(names: readonly string[]): Promise<void> {
    this.changed = true
    const rebooted = this.named(names)
    for (const node of this.wrongs.has('boot-id-ignored') ? [] : rebooted)
      this.boots.push({ node, bootId: randomUUID() })
    await this.each(this.nodes, node =>
      rebooted.includes(node)
        ? [...FLUSH, ...this.stateLines(node, this.current), ...this.policies(node)]
        : this.tunnels(node)
            .filter(({ peer }) => rebooted.includes(peer))
            .flatMap(({ tunnel, direction }) => [
              deleteState(tunnel, direction, this.spiOf(this.current, tunnel)),
              this.stateLine(tunnel, direction, this.current),
            ]),
    )
  }

  /** The next SPI: first everybody can receive with it, then everybody sends with it; the old one still opens. */
  async beginRotation(): Promise<void> {
    this.changed = true
    const old = this.current
    this.retiring = old
    this.current = this.newSecret(old.spi === MAX_CILIUM_SPI ? 1 : old.spi + 1)
    const { wrongs } = this
    if (wrongs.has('rotation-in-clear')) await this.unprotect(this.nodes).then(pause)
    if (wrongs.has('new-key-sent-too-early')) return this.rotateOutFirst()
    await this.each(this.nodes, node => this.stateLines(node, this.current))
    if (wrongs.has('old-key-gone-too-early')) await this.retire('in').then(pause)
    await this.sendWithCurrent()
  }

  private async sendWithCurrent(): Promise<void> {
    await this.each(this.nodes, node => (this.off.has(node.name) ? [] : this.policies(node)))
  }

  private async rotateOutFirst(): Promise<void> {
    await this.each(this.nodes, node => this.stateLines(node, this.current, 'out'))
    await this.sendWithCurrent()
    await pause()
    await this.each(this.nodes, node => this.stateLines(node, this.current, 'in'))
  }

  /** Nothing has used the old SPI for a while: it goes. */
  async endRotation(): Promise<void> {
    if (!this.wrongs.has('old-key-sent')) await this.retire('out')
    if (!this.wrongs.has('old-key-kept', 'old-key-gone-too-early', 'old-key-sent')) await this.retire('in')
    this.retiring = undefined
  }

  private async retire(direction: PolicyDirection): Promise<void> {
    const old = this.retiring
    if (!old) return
    await this.each(this.nodes, node =>
      this.tunnels(node, direction).map(({ tunnel }) => deleteState(tunnel, direction, this.spiOf(old, tunnel))),
    )
  }

  /** An agent that comes up finds the kernel's states, and their numbers, as its predecessor left them. */
  async restartAgent(name: string): Promise<void> {
    if (this.off.has(name)) return
    const own = this.named([name])
    if (this.wrongs.has('restart-in-clear')) await this.unprotect(own).then(pause)
    if (this.wrongs.has('sequence-restarts'))
      await this.each(own, node => ['xfrm state flush', ...this.stateLines(node, this.current)])
    await this.each(own, node => this.policies(node))
  }

  async loseStates(choice: TunnelChoice): Promise<void> {
    this.changed = true
    const fallsBack = this.wrongs.has('clear-without-state')
    await this.each(this.named([choice.node]), node =>
      this.chosen(node, choice).flatMap(({ tunnel, direction }) => [
        ...this.secretsInForce().map(secret => deleteState(tunnel, direction, this.spiOf(secret, tunnel))),
        ...(fallsBack && direction === 'out' ? [passAll(tunnel)] : []),
      ]),
    )
  }

  async losePolicies(choice: TunnelChoice): Promise<void> {
    this.changed = true
    await this.each(this.named([choice.node]), node =>
      this.chosen(node, choice)
        .filter(({ tunnel, direction }) => hasPolicy(tunnel, direction))
        .map(({ tunnel, direction }) => deletePolicy(tunnel, direction)),
    )
  }

  /** The last number that `node` has used towards `peer`, and that `peer` has seen. */
  async setSequence({ node: name, peer, sequence }: { node: string; peer: string; sequence: number }): Promise<void> {
    this.changed = true
    const at = (node: string, other: string, direction: PolicyDirection) =>
      this.each(this.named([node]), owner =>
        this.chosen(owner, { node, peer: other, direction }).flatMap(({ tunnel }) => [
          deleteState(tunnel, direction, this.spiOf(this.current, tunnel)),
          `${this.stateLine(tunnel, direction, this.current)} ${counters(direction, sequence)}`,
        ]),
      )
    await at(name, peer, 'out')
    await at(peer, name, 'in')
  }

  async errors(name: string): Promise<Record<string, number>> {
    return readXfrmStat(this.named([name])[0]!.ns)
  }

  states(name: string): Promise<XfrmState[]> {
    const node = this.named([name])[0]!
    return readStates(this.session(node), node, this.nodes)
  }

  private session(node: BedNode): IpSession {
    const known = this.sessions.get(node) ?? new IpSession(node.ns)
    this.sessions.set(node, known)
    return known
  }

  private secretsInForce(): IpsecSecret[] {
    return this.retiring ? [this.current, this.retiring] : [this.current]
  }

  private named(names: readonly string[]): BedNode[] {
    return names.map(name => {
      const node = this.nodes.find(one => one.name === name)
      if (!node) throw new RangeError(`the site has no node ${name}`)
      return node
    })
  }

  private async each(nodes: readonly BedNode[], lines: (node: BedNode) => readonly string[]): Promise<void> {
    await Promise.all(nodes.map(node => ipWithKeys(this.session(node), lines(node))))
  }

  private get layers(): EspLayer[] {
    const { mode } = this.options
    return mode === 'both' ? ['overlay', 'pod'] : [mode === 'overlay-in-esp' ? 'overlay' : 'pod']
  }

  /** Of a node with every other, both ways. */
  private tunnels(
    node: BedNode,
    only?: PolicyDirection,
  ): { tunnel: Tunnel; direction: PolicyDirection; peer: BedNode }[] {
    const others = this.nodes.filter(other => other !== node)
    const all = this.layers.flatMap(layer =>
      others.flatMap(peer => [
        { tunnel: tunnelOf(layer, node, peer), direction: 'out' as const, peer },
        { tunnel: tunnelOf(layer, peer, node), direction: 'in' as const, peer },
      ]),
    )
    return only === undefined ? all : all.filter(({ direction }) => direction === only)
  }

  private chosen(node: BedNode, { peer, direction }: TunnelChoice) {
    return this.tunnels(node, direction).filter(one => (peer ?? one.peer.name) === one.peer.name)
  }

  private stateLines(node: BedNode, secret: IpsecSecret, only?: PolicyDirection): string[] {
    return this.tunnels(node, only).flatMap(({ tunnel, direction }) => {
      const line = this.stateLine(tunnel, direction, secret)
      if (direction === 'out' || !this.wrongs.has('state-nobody-asked-for')) return [line]
      return [line, addState(tunnel, direction, UNKNOWN_SPI, this.keysOf(tunnel, secret), this.counting)]
    })
  }

  private stateLine(tunnel: Tunnel, direction: PolicyDirection, secret: IpsecSecret): string {
    return addState(tunnel, direction, this.spiOf(secret, tunnel), this.keysOf(tunnel, secret), this.counting)
  }

  private spiOf({ spi }: IpsecSecret, tunnel: Tunnel): number {
    return this.wrongs.has('wrong-spi') && this.isOuter(tunnel) ? spi + 16 : spi
  }

  /** Between the first and the last node: faults that would turn everything red keep to them. */
  private isOuter({ src, dst }: Tunnel): boolean {
    const ends = [this.nodes[0], this.nodes.at(-1)].flatMap(node => [node?.address, node?.router])
    return ends.includes(src) && ends.includes(dst)
  }

  private keysOf(tunnel: Tunnel, secret: IpsecSecret): EspKeys | OpenKeys {
    const { src, dst } = tunnel
    const { wrongs } = this
    const outer = this.isOuter(tunnel)
    const [from, to] = wrongs.has('one-key-both-ways') && src > dst ? [dst, src] : [src, dst]
    const derivation = outer && wrongs.has('global-key') ? 'global' : this.options.derivation
    const keys = deriveKeys(secret.keys, derivation, this.end(from), this.end(to))
    if (keys.kind === 'split' || !outer) return keys
    if (wrongs.has('integrity-off'))
      return { kind: 'open', encryption: 'cbc(aes)', encryptionKey: new KeyBytes(keys.key.bytes.subarray(0, 16)) }
    return wrongs.has('short-icv') ? { ...keys, icvBits: 64 } : keys
  }

  private get counting(): Counting {
    const { wrongs, options } = this
    const { esn, windowPackets } = options
    if (wrongs.has('window-off')) return { esn: false, windowPackets: 0 }
    if (wrongs.has('window-of-32')) return { esn, windowPackets: 32 }
    if (wrongs.has('window-of-4096')) return { esn, windowPackets: 4096 }
    const cycles = wrongs.has('sequence-cycles')
    return { esn: esn && !wrongs.has('esn-off'), windowPackets, cycles }
  }

  private end(address: number): TunnelEnd {
    const node = this.nodes.find(one => one.address === address || one.router === address)
    return { address, bootId: this.boots.findLast(boot => boot.node === node)?.bootId ?? '' }
  }

  private policies(node: BedNode, directions: readonly PolicyDirection[] = ['out', 'in']): string[] {
    return directions.flatMap(direction => [
      ...this.blocks(node, direction),
      ...this.tunnels(node, direction)
        .filter(({ tunnel }) => hasPolicy(tunnel, direction))
        .flatMap(({ tunnel }) => this.policyOf(tunnel, direction)),
    ])
  }

  private policyOf(tunnel: Tunnel, direction: PolicyDirection): string[] {
    const { wrongs } = this
    const marked = wrongs.pick !== 'none' && direction === 'out' ? [passMarked(tunnel, MARK_CLEAR)] : []
    // The kernel takes optional tunnel templates on the way in alone.
    const clear = direction === 'in' && this.acceptsClear
    const secret = (wrongs.has('old-key-sent') && this.retiring) || this.current
    return [...marked, putPolicy(tunnel, direction, this.spiOf(secret, tunnel), clear)]
  }

  private get acceptsClear(): boolean {
    return this.wrongs.has('clear-accepted') || this.wrongs.pick !== 'none'
  }

  private blocks(node: BedNode, direction: PolicyDirection): string[] {
    if (direction === 'out' ? this.wrongs.has('clear-without-policy') : this.acceptsClear) return []
    return this.layers.flatMap(layer => {
      const selector = blockSelector(layer, node, direction)
      return selector === undefined ? [] : [blockPolicy(selector, direction)]
    })
  }
}

const PAUSE_MS = 50

/** How long a fault leaves things half done. */
function pause(): Promise<void> {
  return setTimeout(PAUSE_MS)
}

function counters(direction: PolicyDirection, sequence: number): string {
  const high = Math.floor(sequence / 2 ** 32)
  const name = direction === 'out' ? 'oseq' : 'seq'
  return `replay-${name}-hi ${high} replay-${name} ${sequence % 2 ** 32}`
}

function tunnelOf(layer: EspLayer, from: BedNode, to: BedNode): Tunnel {
  if (layer === 'overlay') {
    const selector = `src ${formatIpv4(from.address)}/32 dst ${formatIpv4(to.address)}/32 ${VXLAN_SELECTOR}`
    return { layer, src: from.address, dst: to.address, node: from.address, selector }
  }
  const selector = `src ${formatIpv4(from.podNetwork)}/16 dst ${formatIpv4(to.podNetwork)}/16`
  return { layer, src: from.router, dst: to.router, node: from.address, selector }
}

/** Pods get what XFRM has opened from the datapath, which looks at the mark: no policy of the stack is asked. */
function hasPolicy({ layer }: Tunnel, direction: PolicyDirection): boolean {
  return layer === 'overlay' || direction === 'out'
}

function blockSelector(layer: EspLayer, node: BedNode, direction: PolicyDirection): string | undefined {
  const address = formatIpv4(node.address)
  if (layer === 'pod') return direction === 'out' ? `src ${formatIpv4(node.podNetwork)}/16 dst 10.0.0.0/8` : undefined
  const ends = direction === 'out' ? `src ${address}/32 dst 0.0.0.0/0` : `src 0.0.0.0/0 dst ${address}/32`
  return `${ends} ${VXLAN_SELECTOR}`
}
