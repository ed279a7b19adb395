/** What the command line hands to each command: one type per file of this folder, filled by cli.ts. */
export interface RunOptions {
  /** YAML files and folders; empty: the default suites. */
  suites: string[]
  /** `NAME` or `NAME:FILE`; empty: reference. */
  target: string[]
  profile: string[]
  sandbox: 'auto' | 'host' | 'vm'
  /** Of the virtual machine: 6.1, … */
  kernel?: string
  filter?: string
  seed?: number
  out?: string
  junit?: string
  fault: string[]
  waivers?: string
  keys?: string
  summary?: string
  sonobuoy: boolean
  repeat: number
  jobs?: number
  keep: boolean
  quiet: boolean
  /** Of the pods of target kubernetes. */
  image?: string
}

export interface JudgeOptions {
  directory: string
  keys?: string
  junit?: string
  json: boolean
  quiet: boolean
}

export interface CheckOptions {
  suites: string[]
  profile: string[]
}

export interface ListOptions {
  suites: string[]
  requirements: boolean
  json: boolean
}

export interface ExplainOptions {
  id: string
}

export interface FaultsOptions {
  suites: string[]
  /** Also run the faults of our own parts: generators, control plane. */
  self: boolean
  sandbox: 'auto' | 'host' | 'vm'
  kernel?: string
  /** Rows to run; empty: all. */
  fault: string[]
  out?: string
  json: boolean
}

export interface SendOptions {
  interface?: string
  engine: 'afpacket' | 'cap' | 'xdp'
  netns?: string
  pcap?: string
  group: string
  port: number
  source?: string
  ttl: number
  count: number
  pps?: number
  /** Ethernet frame without FCS. */
  size: number
}

export interface JoinOptions {
  interface: string
  netns?: string
  group: string[]
  version: 1 | 2 | 3
  address?: string
  mode?: 'include' | 'exclude'
  source: string[]
  seconds?: number
}

export interface CaptureOptions {
  interface: string
  netns?: string
  filter?: string
  write: string
  count?: number
  seconds?: number
}

export interface DecryptOptions {
  capture: string
  keys: string
  output: string
  json: boolean
}

export interface NetflowOptions {
  /** A capture to read, or else `listen`. */
  capture?: string
  listen?: string
  netns?: string
  /** capture: UDP ports of the collector; empty: the usual ones. */
  port: number[]
  /** `INDEX=NAME` of interfaces. */
  name: string[]
  /** capture: real collectors to feed it to, whose totals are judged. */
  analyser: ('nfdump' | 'nfacctd')[]
  /** `INDEX=PACKETS`: what some other analyser says came in there. */
  claim: string[]
  count?: number
  seconds?: number
  json: boolean
}

export interface LabOptions {
  action: 'up' | 'down' | 'status' | 'shell'
  /** up: a suite whose topology to take. */
  suite?: string
  target?: string
  fault: string[]
  /** down, status, shell: which lab, when there are several. */
  lab?: string
  /** shell: a pod or a node; the rest is a program to run instead of a shell. */
  place?: string
  program: string[]
  all: boolean
  json: boolean
}

export interface McastOptions {
  table: 'group' | 'subscriber' | 'drops'
  action: 'list' | 'add' | 'delete'
  /** A group, or `all`. */
  group?: string
  node?: string
  lab?: string
  json: boolean
}

export interface CniOptions {
  action: 'agent' | 'faults' | 'restart' | 'ask'
  fault: string[]
  node?: string
  binDir: string
  confDir: string
  runtimeBinDir: string
}

export interface ProbeOptions {
  json: boolean
}

/** What an agent is to do comes through its standard input. */
export type AgentOptions = Record<string, never>

/** Every command of castproof and what it is given. */
export interface CommandOptions {
  run: RunOptions
  judge: JudgeOptions
  check: CheckOptions
  list: ListOptions
  explain: ExplainOptions
  faults: FaultsOptions
  send: SendOptions
  join: JoinOptions
  capture: CaptureOptions
  decrypt: DecryptOptions
  netflow: NetflowOptions
  lab: LabOptions
  mcast: McastOptions
  cni: CniOptions
  probe: ProbeOptions
  agent: AgentOptions
}
