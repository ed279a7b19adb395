import { setTimeout as delay } from 'node:timers/promises'
import type { Netns } from '../../generators/linux/netns.ts'
import type { Feed } from './feed.ts'

/** What a collector says came in at an interface. */
export interface InputClaim {
  input: number
  packets: bigint
  bytes: bigint
}

/** What a collector reports by input interface: asked plainly, and asked for the records of one direction (field 61). */
export interface AnalyserReport {
  analyser: string
  version: string
  all: InputClaim[]
  ingressOnly: InputClaim[]
  egressOnly: InputClaim[]
  /** Datagrams that it had no room for, so that its totals say less than it was sent. */
  dropped: number
}

/** A collector that runs: where it listens, and what it knows once it has seen everything. */
export interface RunningAnalyser {
  port: number
  /** Takes it down, too, where it tells only then. */
  report(fence: Feed): Promise<Omit<AnalyserReport, 'analyser' | 'dropped'>>
  /** Undefined while it runs; else its last words. */
  trouble(): string | undefined
  stop(): Promise<void>
}

export interface Analyser {
  start(ns: Netns, directory: string): Promise<RunningAnalyser>
}

const READY_WITHIN_MS = 15_000

/** Waits for what a running collector will do; its end is an error with its last words. */
export async function until(
  what: string,
  running: Pick<RunningAnalyser, 'trouble'>,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + READY_WITHIN_MS
  while (!(await holds())) {
    const trouble = running.trouble()
    if (trouble !== undefined) throw new Error(`waited for ${what}: ${trouble}`)
    if (performance.now() > endMs) throw new Error(`waited ${READY_WITHIN_MS} ms in vain for ${what}`)
    await delay(20)
  }
}
