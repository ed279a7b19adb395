import type { SiteMap } from '../check/check.ts'
import type { Endpoint } from '../endpoint.ts'
import type { PolicyDirection } from '../ipsec/xfrm.ts'
import type { GroupTable, XfrmState } from '../observation.ts'
import type { Capability } from '../probe.ts'
import type { ClockRecord, RoundTrip } from '../run-directory.ts'
import type { Alteration, ExporterWanted, SysctlName, Topology } from '../suite/plan-types.ts'
import type { SiteTap } from './site-tap.ts'

/** A driver: knows how to bring one kind of SUT up, and nothing about verdicts. */
export interface Target {
  readonly name: string
  /** One line for reports. */
  readonly description: string
  /** What this machine lacks for it is a Capability with `ok: false` and a remedy. */
  probe(): Promise<Capability[]>
  /** What `lab up` brings up when no suite says otherwise; left out: three nodes, four pods. */
  readonly labTopology?: Topology
  bringUp(topology: Topology, options: BringUpOptions, stop: AbortSignal): Promise<Site>
  /**
   * What cases may need and this target has or lacks, where that is not a matter of this machine; of a target that is somewhere else
   * (it has a `close`), names it does not speak of are there. Asked once, when the run begins.
   */
  capabilities?(stop: AbortSignal): Promise<Capability[]>
  /** What it was found to be, once capabilities were asked: `suites/waivers/<product>.yaml` holds what is known of that. */
  readonly product?: string | undefined
  /** Why it cannot bring up such a topology, if so: its cases are skipped for that. */
  refusal?(topology: Topology): string | undefined
  /** At the end of the run: what was kept between stages goes. */
  close?(): Promise<void>
}

/** What a command line says beside a target's name. */
export interface TargetOptions {
  /** Paths are relative to it. */
  cwd?: string
  /** Of the pods that stand for hosts. */
  image?: string
  /** Something that a person who waits should know. */
  tell?: (line: string) => void
}

export interface BringUpOptions {
  /** Names from the fault registry that this target's SUT is to have. */
  faults: readonly string[]
  /** `lab` and `--keep`: namespaces get names that start with this. */
  prefix?: string
}

/** A flow exporter of the SUT at work. */
export interface SiteExporter {
  /** For people: what exports, with its version. */
  readonly product: string
  /** Resolves when all that was counted before the call is on its way to the collector. */
  flush(): Promise<void>
  close(): Promise<void>
}

export interface TapsWanted {
  /** The run directory, and what its capture files' names begin with. */
  directory: string
  prefix: string
  /** Stamps of other runs are recorded, not counted. */
  runId: number
}

/**
 * A target that is up: pods to act in, tables to read, places to listen; all of it may be on other machines, with clocks of
 * their own. `close` leaves nothing behind.
 */
export interface Site {
  readonly map: SiteMap
  /** Of the SUT, for waivers that hold for a range; absent where it has none of its own. */
  readonly version?: string
  /** Datagrams after which a new way is settled; left out: the first that arrives shows it. */
  readonly settleFrames?: number
  /** How many times longer steps take than on this machine: streams with steps beside them are sent that much slower. Left out: 1. */
  readonly stretch?: number
  endpoint(pod: string): Endpoint
  /** Round trips of unicast between every two places, as they were when the site came up. */
  readonly health?: readonly RoundTrip[]
  /** Clocks other than the runner's, as they were while the taps were open; asked once those are closed. */
  clocks?(): Promise<ClockRecord[]>
  /** Opens a tap in every namespace; each listens when this resolves. */
  openTaps(wanted: TapsWanted): Promise<SiteTap[]>
  /**
   * Groups that some cases of the stage want enabled and none wants otherwise, before the first case: where it takes long to make one
   * known, it is done for all at once. They stay until the site goes.
   */
  prepareGroups?(groups: readonly number[]): Promise<void>
  enableGroup(node: string, group: number): Promise<void>
  /** False when the SUT refuses because its limit is reached; any other trouble is thrown. */
  tryEnableGroup(node: string, group: number): Promise<boolean>
  disableGroup(node: string, group: number): Promise<void>
  /** At a case's end; left out: `disableGroup`. */
  releaseGroup?(node: string, group: number): Promise<void>
  tables(node: string): Promise<GroupTable[]>
  drops(node: string): Promise<Record<string, number>>
  /** What the node's agent serves to Prometheus; absent: it serves nothing. */
  metrics?(node: string): Promise<string>
  /** Cumulative loss counters of kernel and devices. */
  witness(): Promise<Record<string, number>>
  /** Starts flow export on a router; absent: nothing here exports flows. */
  startExporter?(node: string, config: ExporterWanted): Promise<SiteExporter>
  setLink(what: { pod: string } | { node: string }, up: boolean): Promise<void>
  /** The pod is gone abruptly: veth and namespace removed, no IGMP leave. */
  kill(pod: string): Promise<void>
  /** Makes a killed pod anew: the same name, address and MAC, and no memory. */
  revive(pod: string): Promise<void>
  /** Makes killed pods anew and sets links up again; true when there was anything to do. */
  restore(): Promise<boolean>
  restartAgent(node: string): Promise<void>
  /** In the namespace of a pod or a node; taken back by `restore`. */
  setSysctl?(place: { pod: string } | { node: string }, device: string, name: SysctlName, value: number): void
  /** ESP between the nodes, where the topology asks for it. */
  readonly encryption?: SiteEncryption | undefined
  /** Where ESP can be sent again. */
  readonly replay?: SiteReplay | undefined
  /** Pods that can neither send nor receive now: killed, or their link is down. */
  unreachable(): ReadonlySet<string>
  /**
   * Exchanges the SUT's programs for ones with these faults; topology and pods stay. Absent where the SUT would remember what it
   * did before: other faults need another site.
   */
  setFaults?(faults: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** ESP packets that left `node` for `peer` during step `of`, again, from the interface of `pod`. */
export interface ReplayWanted {
  pod: string
  of: string
  node: string
  peer: string
  count?: number | undefined
  alter: Alteration
}

export interface SiteReplay {
  /** Whether what leaves is to be kept; what was is forgotten either way. */
  keep(on: boolean): void
  /** What leaves from here on belongs to the step, until its end. */
  begin(step: string): void
  end(step: string): void
  /** How many were sent. */
  replay(wanted: ReplayWanted): Promise<number>
}

/** Whose packets are meant: all that `node` exchanges with `peer`, or one direction of it. */
export interface TunnelChoice {
  node: string
  peer?: string | undefined
  direction?: PolicyDirection | undefined
}

/** What suites do to the encryption of a site. */
export interface SiteEncryption {
  switchOn(nodes: readonly string[]): Promise<void>
  /** Everything goes in clear; keys and their numbers stay. */
  switchOff(nodes: readonly string[]): Promise<void>
  /** Nodes that have no keys any more, and protect nothing. */
  forget(nodes: readonly string[]): Promise<void>
  /** Nodes that come up with another boot ID: their keys with everybody are others. */
  reboot(nodes: readonly string[]): Promise<void>
  /** A new key, with the next SPI, which is sent with as soon as all nodes can receive with it. */
  beginRotation(): Promise<void>
  /** The old key goes. */
  endRotation(): Promise<void>
  loseStates(choice: TunnelChoice): Promise<void>
  losePolicies(choice: TunnelChoice): Promise<void>
  /** The last number that `node` has used towards `peer`, and that `peer` has seen. */
  setSequence(wanted: { node: string; peer: string; sequence: number }): Promise<void>
  /** Counters of loss, cumulative. */
  errors(node: string): Promise<Record<string, number>>
  states(node: string): Promise<XfrmState[]>
  /** Every key there was, in the format of docs/encryption.md: for the run directory. */
  keysFile(): string
}
