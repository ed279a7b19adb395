/** What we use of the package, which has no types of its own. */
declare module 'pcap-parser' {
  import type { Readable } from 'node:stream'

  export interface PacketHeader {
    timestampSeconds: number
    timestampMicroseconds: number
    capturedLength: number
    originalLength: number
  }

  export interface Parser {
    on(event: 'packet', listener: (packet: { header: PacketHeader; data: Buffer }) => void): void
    on(event: 'error', listener: (error: Error) => void): void
    on(event: 'end', listener: () => void): void
  }

  export function parse(input: Readable): Parser
}
