import { closeSync, openSync, writeSync } from 'node:fs'
import { patchFrame } from '../template.ts'
import { virtualClock } from './clock.ts'
import type { Engine, SendRecord } from './engine.ts'
import { mostFragments, type Port, runStartOf, sendStreams } from './loop.ts'

export interface PcapFileOptions {
  path: string
  record?: SendRecord
}

/**
 * Writes what would be sent to a classic pcap file with nanosecond times, as fast as the disk takes it: the schedule is kept on a
 * virtual clock that starts with the run. Needs no privilege.
 */
export function openPcapFileEngine(options: PcapFileOptions): Engine {
  const fd = openSync(options.path, 'w')
  writeSync(fd, fileHeader())
  const clock = virtualClock(0)
  let closed = false
  return {
    async send(streams, stop) {
      const port = filePort(fd, runStartOf(streams), clock, mostFragments(streams))
      return sendStreams(streams, port, clock, options.record, stop)
    },
    close() {
      if (!closed) closeSync(fd)
      closed = true
    },
  }
}

const NANOSECOND_MAGIC = 0xa1b2_3c4d
const LINKTYPE_ETHERNET = 1

/** https://www.tcpdump.org/manpages/pcap-savefile.5.html */
function fileHeader(): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(NANOSECOND_MAGIC, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(262_144, 16)
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20)
  return header
}

const BATCH_FRAMES = 512
const RECORD_HEADER_BYTES = 16
/** Frames that are as fast as possible follow each other as on a 10 Gbit/s wire. */
const NS_PER_BYTE = 0.8
/** Preamble, FCS and inter-frame gap (IEEE 802.3 §4.4.2). */
const WIRE_OVERHEAD_BYTES = 24

function filePort(fd: number, runStartNs: bigint, clock: ReturnType<typeof virtualClock>, most: number): Port {
  const records: Buffer[] = []
  return {
    capacity: Math.max(BATCH_FRAMES, most),
    load(slot, stream, frame, sequence, timeUs) {
      const bytes = Buffer.alloc(RECORD_HEADER_BYTES + frame.bytes.length)
      bytes.set(frame.bytes, RECORD_HEADER_BYTES)
      patchFrame(bytes, RECORD_HEADER_BYTES, frame, stream.slots, sequence, timeUs)
      records[slot] = bytes
    },
    send(from, count) {
      for (let slot = from; slot < count; slot++) {
        const record = records[slot]!
        writeRecordHeader(record, runStartNs + BigInt(Math.round(clock.nowNs())))
        clock.advance((record.length - RECORD_HEADER_BYTES + WIRE_OVERHEAD_BYTES) * NS_PER_BYTE)
      }
      const bytes = Buffer.concat(records.slice(from, count))
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
      return count - from
    },
  }
}

function writeRecordHeader(record: Buffer, timeNs: bigint): void {
  const length = record.length - RECORD_HEADER_BYTES
  record.writeUInt32LE(Number(timeNs / 1_000_000_000n), 0)
  record.writeUInt32LE(Number(timeNs % 1_000_000_000n), 4)
  record.writeUInt32LE(length, 8)
  record.writeUInt32LE(length, 12)
}
