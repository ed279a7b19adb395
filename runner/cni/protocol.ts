import type { LabRequest } from '../lab/protocol.ts'

/** The lab that an agent is on its node: `castproof mcast` finds it by this name. */
export const CNI_LAB = 'cni'

/** What the runtime gave the plugin, as the plugin gives it to the agent. */
export interface CniCall {
  op: 'cni'
  command: 'ADD' | 'DEL' | 'CHECK'
  containerId: string
  ifName: string
  /** The runtime's path, for the answer; the agent's own mount namespace need not have it. */
  netns: string
  /** The plugin, which waits for the answer, holds the namespace open: the agent takes it from there. */
  pid: number
  netnsFd: number | undefined
  config: { cniVersion?: string; name?: string; prevResult?: unknown }
}

/** A lab's requests, and what only a node of a cluster is asked. */
export type NodeRequest = LabRequest | CniCall | { op: 'faults'; faults: string[] } | { op: 'restart' }

/** From 100 on codes are a plugin's own. */
export const REFUSED = 100

export interface CniError {
  cniVersion: string
  code: number
  msg: string
  details?: string
}

/** The agent's answer to a call: what goes to the runtime's standard output. */
export type CniAnswer = { result: unknown } | { error: CniError }
