/**
 * The replication ledger (ARCHITECTURE section 4): every sighting of every stamped frame, columnar, ordered by time.
 * `i` below is a sighting, 0 … count-1; `frame(i)` is its index in the Recording.
 */
export interface Ledger {
  readonly count: number
  frame(i: number): number
  tap(i: number): number
  stream(i: number): number
  sequence(i: number): number
  timeNs(i: number): number
  direction(i: number): number
  /** VXLAN headers around it: 0 = as the pod sent it. */
  levels(i: number): number
  /** Offset of the innermost Ethernet header in the frame's bytes. */
  innerAt(i: number): number
  /** Payload offset of this IP fragment in bytes; 0 for a whole datagram and for the head of a fragmented one. */
  fragmentOffset(i: number): number
  /** Sightings of a stream at a tap in one direction, in time order. Empty when there is none. */
  sightings(tap: number, stream: number, direction: number): Int32Array
  /** Copies of each sequence 0 … n-1 (heads and whole datagrams only) at a tap. */
  copies(tap: number, stream: number, direction: number, sequences: number): Uint16Array
  /** Frames that are neither stamped nor of a known fragment: short name ("arp", "igmp", "icmpv6", "udp 224.0.0.251:5353") → count. */
  readonly background: Readonly<Record<string, number>>
}
