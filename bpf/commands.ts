import { lookup, testRun } from '../generators/linux/libbpf.ts'
import { addressKey, LAYOUT, u32Key } from './maps.ts'

/** What it takes to give a node's datapath a command, from any thread of this process. */
export interface CommandChannel {
  /** File descriptor of the program `command`. */
  program: number
  /** File descriptor of the map `commands`. */
  slots: number
}

export interface Command {
  kind: number
  group?: number
  value?: number
  pods?: number
}

const TIMEOUT_MS = 2_000
let sequence = 0

/**
 * Runs a command in the datapath and waits for it; false: refused. It runs in a timer's softirq, a few microseconds after
 * the call that starts it, which is why this polls (include/command.h).
 */
export function giveCommand(channel: CommandChannel, slot: number, command: Command): boolean {
  sequence = (sequence + 1) >>> 0 || 1
  const packet = Buffer.alloc(LAYOUT.mcast_command.sizeBytes)
  packet.writeUInt32LE(command.kind, LAYOUT.mcast_command.kind)
  packet.set(addressKey(command.group ?? 0), LAYOUT.mcast_command.group)
  packet.writeUInt32LE(command.value ?? 0, LAYOUT.mcast_command.value)
  packet.writeUInt32LE(command.pods ?? 0, LAYOUT.mcast_command.pods)
  packet.writeUInt32LE(slot, LAYOUT.mcast_command.slot)
  packet.writeUInt32LE(sequence, LAYOUT.mcast_command.sequence)
  run(channel, packet, command.kind)
  return waitUntilDone(channel, slot, sequence)
}

/** A command that needs no lock and no answer. */
export function kick(channel: CommandChannel, kind: number): void {
  const packet = Buffer.alloc(LAYOUT.mcast_command.sizeBytes)
  packet.writeUInt32LE(kind, LAYOUT.mcast_command.kind)
  run(channel, packet, kind)
}

const NO_MEMORY = -12
const QUICK_TRIES = 20
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/**
 * From 6.18 on bpf_timer_init takes its memory without a lock and is refused when another holds it: a moment later it works, and
 * where that one was preempted on this CPU, only once it has run again.
 */
function run(channel: CommandChannel, packet: Buffer, kind: number): void {
  const deadlineMs = performance.now() + TIMEOUT_MS
  let error = NO_MEMORY
  for (let tries = 1; error === NO_MEMORY && performance.now() < deadlineMs; tries++) {
    error = testRun(channel.program, packet).verdict | 0
    if (error === NO_MEMORY && tries > QUICK_TRIES) Atomics.wait(sleeper, 0, 0, 1)
  }
  if (error !== 0) throw new Error(`the datapath does not take command ${kind}: error ${-error}`)
}

function waitUntilDone(channel: CommandChannel, slot: number, number: number): boolean {
  const key = u32Key(slot)
  const value = Buffer.alloc(LAYOUT.command_slot.sizeBytes)
  const deadlineMs = performance.now() + TIMEOUT_MS
  do {
    lookup(channel.slots, key, value)
    if (value.readUInt32LE(LAYOUT.command_slot.done) === number)
      return value.readUInt32LE(LAYOUT.command_slot.refused) === 0
  } while (performance.now() < deadlineMs)
  throw new Error(`the datapath has not run a command within ${TIMEOUT_MS} ms`)
}
