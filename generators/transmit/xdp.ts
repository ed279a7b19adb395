import { LIVE_FRAME_MAX_BYTES, LiveFrames, LiveFramesLost } from '../linux/live-frames.ts'
import type { Netns } from '../linux/netns.ts'
import type { CompiledStream } from '../stream.ts'
import { patchFrame, type TemplateFrame } from '../template.ts'
import { Unsupported } from '../unsupported.ts'
import { realtimeClock } from './clock.ts'
import type { Engine, SendRecord } from './engine.ts'
import { type Port, runStartOf, sendStreams } from './loop.ts'

export interface XdpOptions {
  ns?: Netns
  /** A veth whose peer runs NAPI (`gro on`, or an XDP program of its own). */
  interface: string
  /** Where the built bpf/xdp-send.bpf.c is. */
  object: string
  record?: SendRecord
}

/**
 * High rate into a veth: XDP live frames, past the qdisc and past every tap at this end. Needs CAP_BPF and Linux 5.18. A
 * frame that the veth drops ends it with Unsupported, as nobody could say which one it was.
 */
export function openXdpEngine(options: XdpOptions): Engine {
  return {
    async send(streams, stop) {
      const live = new LiveFrames({ ...options, maxFrameBytes: longestFrame(streams) })
      try {
        return await sendStreams(streams, livePort(live), realtimeClock(runStartOf(streams)), options.record, stop)
      } catch (error) {
        throw error instanceof LiveFramesLost ? notTaken(error) : error
      } finally {
        live.close()
      }
    },
    close() {},
  }
}

function notTaken(lost: LiveFramesLost): Unsupported {
  return new Unsupported('the xdp engine', 'a veth whose peer runs NAPI (ethtool -K PEER gro on)', lost.message, lost)
}

function longestFrame(streams: readonly CompiledStream[]): number {
  const frames = streams.flatMap(({ variants }) => variants.flat())
  const longest = frames.reduce((bytes, frame) => Math.max(bytes, frame.bytes.length), 0)
  if (longest > LIVE_FRAME_MAX_BYTES)
    throw new Unsupported('the xdp engine', `frames of ${LIVE_FRAME_MAX_BYTES} bytes at most`, `one of ${longest}`)
  return longest
}

function livePort(live: LiveFrames): Port {
  const loaded = new Array<TemplateFrame | undefined>(live.capacity).fill(undefined)
  return {
    capacity: live.capacity,
    load(slot, stream, frame, sequence, timeUs) {
      const at = live.at(slot)
      if (loaded[slot] !== frame) {
        live.frames.set(frame.bytes, at)
        live.setLength(slot, frame.bytes.length)
        loaded[slot] = frame
      }
      patchFrame(live.frames, at, frame, stream.slots, sequence, timeUs)
    },
    send: (from, count) => live.send(from, count),
  }
}
