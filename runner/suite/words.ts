import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import type { Action, Binding, Condition, PlannedCase, PlannedExpectation, PlannedStep } from './plan-types.ts'

/** A planned case in English, with the roles and groups of its text. */
export class CaseWords {
  private readonly planned: PlannedCase
  private readonly roleOf = new Map<string, string>()
  private readonly groupOf = new Map<number, string>()

  constructor(planned: PlannedCase) {
    this.planned = planned
    for (const [role, pods] of Object.entries(planned.endpoints))
      for (const pod of pods) this.roleOf.set(pod, pods.length > 1 ? `${role} (${pods.length} pods)` : role)
    for (const { name, address } of planned.groups) this.groupOf.set(address, name)
  }

  places(): string[] {
    const roles = Object.entries(this.planned.endpoints).map(([role, pods]) => {
      const node = pods[0]?.replace(/-\d+$/, '') ?? ''
      return pods.length > 1 ? `${role}: ${pods.length} pods on ${node}` : `${role}: ${pods[0]} on ${node}`
    })
    const groups = this.planned.groups.length > 8 ? this.planned.groups.slice(0, 8) : this.planned.groups
    return [
      ...roles,
      ...groups.map(
        ({ name, address, enabled }) => `${name}: ${formatIpv4(address)}${enabled ? '' : ', not enabled at first'}`,
      ),
      ...(groups.length < this.planned.groups.length ? [`… ${this.planned.groups.length} groups in all`] : []),
    ]
  }

  step(step: PlannedStep, indent = ''): string[] {
    const line = `${indent}${step.id}: ${this.action(step)}`
    return step.action === 'send'
      ? [line, ...step.meanwhile.flatMap(inner => this.step(inner, `${indent}  meanwhile `))]
      : [line]
  }

  /** The keys of `want` as they stand in the suite, pods as roles. */
  expectation({ check, want, bind }: PlannedExpectation): string {
    return `${check} ${this.fields(want as unknown as Record<string, unknown>, bind)}`
  }

  private action(step: Action & { bind?: Binding[] }): string {
    switch (step.action) {
      case 'join':
        return `${this.pods(step.pods)} joins ${this.groups(step.groups ?? [step.group])} by IGMPv${step.igmpVersion}${this.filter(step)}${step.via === 'socket' ? ', through a socket' : ''}`
      case 'leave':
        return `${this.pods(step.pods)} leaves ${this.groups(step.groups ?? [step.group])}`
      case 'send':
        return this.sending(step)
      case 'wait':
        return `wait at most ${step.timeoutMs} ms until ${this.condition(step.until)}`
      case 'link':
        return `link of ${step.node ?? this.pods([step.pod ?? ''])} ${step.up ? 'up' : 'down'}`
      case 'revive':
        return `${this.pods(step.pods)} comes back with the same address`
      case 'kill':
        return `${this.pods(step.pods)} killed`
      case 'group':
        return `${step.enable ? 'enable' : 'disable'} ${this.groups(step.groups)} on ${step.nodes.join(', ')}${step.refused > 0 ? `, ${step.refused} to be refused` : ''}`
      case 'run':
        return `run ${step.program} in ${this.pods([step.pod])}: ${this.fields(step.params, step.bind, 'params')}`
      case 'stop':
        return `stop ${step.program}`
      case 'snapshot':
        return 'tables and drop counters of every node'
      case 'exporter':
        return `${step.node} exports flows: ${step.config.monitors.map(monitor => `${monitor.direction} of ${monitor.interface}`).join(', ')}`
      case 'flush':
        return `the flow cache of ${step.exporter} leaves`
      case 'agent':
        return `${step.do} the control plane of ${step.node}`
      case 'encryption':
        return `encryption: ${step.do}, ${step.nodes.join(', ')}`
      case 'xfrm':
        return xfrmWords(step)
      case 'sysctl':
        return `${step.name} of ${step.interface} is ${step.value} in ${step.node ?? this.pods([step.pod ?? ''])}`
      case 'replay':
        return `${this.pods([step.pod])} sends ${step.count ?? 'all'} ESP packets of ${step.of} from ${step.node} to ${step.peer} again${step.alter === 'none' ? '' : `, with its ${step.alter} altered`}`
    }
  }

  private sending({ pods, stream, prime, bind }: Extract<Action, { action: 'send' }> & { bind?: Binding[] }): string {
    const many = [
      stream.count === undefined ? '' : `${stream.count} frames`,
      stream.durationMs === undefined ? '' : `${stream.durationMs} ms`,
    ]
    const rate =
      stream.rate === 'max'
        ? 'as fast as it goes'
        : 'pps' in stream.rate
          ? `${stream.rate.pps} a second`
          : `${stream.rate.bitsPerSecond} bit/s`
    const primed = prime.length > 0 ? `, once ${this.pods(prime)} has seen a probe` : ''
    const layers = this.fields(stream.frame as Record<string, unknown>, bind, 'stream.frame')
    return `${this.pods(pods)} sends ${many.filter(text => text !== '').join(' in ')}, ${rate}${primed}: ${layers}`
  }

  private filter({ filter, bind }: Extract<Action, { action: 'join' }> & { bind?: Binding[] }): string {
    return filter
      ? `, ${filter.mode.toUpperCase()}${this.value(filter.sources, bind, 'filter.sources', 'sources')}`
      : ''
  }

  private condition(until: Condition): string {
    switch (until.until) {
      case 'delivered':
      case 'stopped':
        return `probes from ${this.pods([until.from])} to ${this.groups([until.group])} ${until.until === 'stopped' ? 'no longer ' : ''}reach ${this.pods(until.to)}`
      case 'subscribed':
      case 'unsubscribed': {
        const who = 'pod' in until.subscriber ? this.pods([until.subscriber.pod]) : until.subscriber.node
        return `${(until.nodes ?? [until.node]).join(', ')} ${until.until === 'subscribed' ? 'shows' : 'no longer shows'} ${who} under ${this.groups([until.group])}`
      }
      case 'output':
        return `${until.program} has printed "${until.contains}" ${until.count} times`
      case 'pim':
        return `${until.count} PIM ${until.type} passed ${until.node}/${until.interface} (${until.direction})`
      case 'frame':
        return `${until.count} frames ${until.direction} at ${this.pods([until.pod])} match ${this.fields(until.match as Record<string, unknown>)}`
      case 'sent':
        return `${until.frames} frames of ${until.stream} have left`
    }
  }

  private pods(pods: readonly string[]): string {
    return [...new Set(pods.map(pod => this.roleOf.get(pod) ?? pod))].join(', ')
  }

  private groups(groups: readonly number[]): string {
    const shown = groups.slice(0, 4).map(group => this.groupOf.get(group) ?? formatIpv4(group))
    return groups.length > 4 ? `${groups.length} groups from ${shown[0]}` : shown.join(', ')
  }

  private fields(value: Record<string, unknown>, bind: readonly Binding[] = [], at = ''): string {
    return Object.entries(value)
      .map(([key, inner]) => `${key} ${this.value(inner, bind, at === '' ? key : `${at}.${key}`, key)}`)
      .join(', ')
  }

  private value(value: unknown, bind: readonly Binding[] = [], at: string, key: string): string {
    const late = bind.find(({ path }) => path.join('.') === at)
    if (late) return `@${'pod' in late.of ? this.pods([late.of.pod]) : late.of.node}`
    if (Array.isArray(value)) return `{${this.items(value, bind, at, key)}}`
    if (typeof value === 'object' && value !== null)
      return `(${this.fields(value as Record<string, unknown>, bind, at)})`
    if (typeof value === 'string') return this.roleOf.get(value) ?? value
    if (typeof value === 'number' && MACS.test(at)) return formatMac(value)
    if (typeof value === 'number' && ADDRESSES.has(key)) return this.groupOf.get(value) ?? formatIpv4(value)
    return String(value)
  }

  private items(items: readonly unknown[], bind: readonly Binding[], at: string, key: string): string {
    if (items.length > 0 && items.every(item => typeof item === 'string')) return this.pods(items)
    const shown = items.slice(0, 6).map((item, i) => this.value(item, bind, `${at}.${i}`, key))
    return shown.join(', ') + (items.length > 6 ? `, … ${items.length} in all` : '')
  }
}

function xfrmWords(step: Extract<Action, { action: 'xfrm' }>): string {
  if (step.do === 'sequence') return `sequence numbers from ${step.node} to ${step.peer} go on from ${step.sequence}`
  const what = step.do === 'lose-states' ? 'states' : 'policies'
  const which = [step.direction && `${step.direction}bound`, step.peer && `with ${step.peer}`].filter(Boolean).join(' ')
  return `${step.node} loses its XFRM ${what}${which === '' ? '' : `, ${which}`}`
}

const MACS = /ethernet\.(dst|src)$/

/** Keys whose numbers are IPv4 addresses. */
const ADDRESSES: ReadonlySet<string> = new Set(['group', 'multicastAddress', 'sources', 'src', 'dst', 'hosts'])
