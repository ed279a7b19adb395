import { openPacketSocket, type PacketSocket, type PacketSocketOptions, SendBatch } from '../linux/packet-sender.ts'
import type { CompiledStream } from '../stream.ts'
import { patchFrame, type TemplateFrame } from '../template.ts'
import { realtimeClock } from './clock.ts'
import type { Engine, SendRecord } from './engine.ts'
import { mostFragments, type Port, runStartOf, sendStreams } from './loop.ts'

export interface AfPacketOptions extends PacketSocketOptions {
  record?: SendRecord
}

/** The default engine: AF_PACKET and sendmmsg, up to 512 frames a call. Needs CAP_NET_RAW. */
export function openAfPacketEngine(options: AfPacketOptions): Engine {
  const packetSocket = openPacketSocket(options)
  return {
    async send(streams, stop) {
      const clock = realtimeClock(runStartOf(streams))
      return sendStreams(streams, socketPort(packetSocket, streams), clock, options.record, stop)
    },
    close: () => packetSocket.close(),
  }
}

const FULL_BATCH = 512
/** Slow streams send a few frames at a time; a thousand senders need not hold a full batch each. */
const SMALL_BATCH = 64

function socketPort(packetSocket: PacketSocket, streams: readonly CompiledStream[]): Port {
  const frames = streams.flatMap(stream => stream.variants.flat())
  const longest = frames.reduce((bytes, frame) => Math.max(bytes, frame.bytes.length), 0)
  const batch = new SendBatch(batchFrames(streams), longest)
  const loaded = new Array<TemplateFrame | undefined>(batch.capacity).fill(undefined)
  return {
    capacity: batch.capacity,
    load(slot, stream, frame, sequence, timeUs) {
      const at = slot * batch.slotBytes
      if (loaded[slot] !== frame) {
        batch.frames.set(frame.bytes, at)
        batch.setLength(slot, frame.bytes.length)
        loaded[slot] = frame
      }
      patchFrame(batch.frames, at, frame, stream.slots, sequence, timeUs)
    },
    send: (from, count) => batch.send(packetSocket.fd, from, count),
  }
}

function batchFrames(streams: readonly CompiledStream[]): number {
  return Math.max(streams.some(isFast) ? FULL_BATCH : SMALL_BATCH, mostFragments(streams))
}

function isFast({ spec }: CompiledStream): boolean {
  return spec.burst !== undefined || spec.rate === 'max' || !('pps' in spec.rate) || spec.rate.pps > 10_000
}
