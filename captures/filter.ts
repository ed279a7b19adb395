import { execa } from 'execa'
import { Unsupported } from './unsupported.ts'

/** A pcap-filter(7) expression that tcpdump does not take; the message is tcpdump's own. */
export class FilterError extends Error {
  readonly expression: string

  constructor(expression: string, why: string) {
    super(`capture filter "${expression}": ${why}`)
    this.name = 'FilterError'
    this.expression = expression
  }
}

const TIME_LIMIT_MS = 10_000
/** BPF_MAXINSNS. */
const MAX_INSTRUCTIONS = 4096

/**
 * These ask for what the kernel keeps beside the frame (it takes tags out before a socket sees them), and libpcap emits
 * that code only for an open device. Any Ethernet device will do, and every namespace has lo.
 */
const BESIDE_THE_FRAME = /\b(vlan|inbound|outbound|ifindex)\b/

/** pcap-filter(7) to `struct sock_filter[]` for SO_ATTACH_FILTER, compiled by `tcpdump -ddd`. */
export async function compileFilter(expression: string): Promise<Uint8Array> {
  const device = BESIDE_THE_FRAME.test(expression) ? ['-i', 'lo'] : ['-y', 'EN10MB']
  const result = await execa('tcpdump', [...device, '-ddd', '--', expression], {
    reject: false,
    stdin: 'ignore',
    timeout: TIME_LIMIT_MS,
  })
  if (result.code === 'ENOENT') {
    throw new Unsupported('capture filters', 'the program tcpdump', 'none on the PATH', 'apt-get install tcpdump')
  }
  if (result.failed)
    throw new FilterError(expression, reason(result.stderr) || (result.shortMessage ?? 'tcpdump failed'))
  return instructions(expression, result.stdout)
}

/** tcpdump's last line, without its name in front. */
function reason(stderr: string): string {
  const lines = stderr.split('\n').filter(line => line.startsWith('tcpdump: '))
  return (lines.at(-1) ?? '').replace(/^tcpdump: /, '')
}

/** A line with the count, then `code jt jf k` in decimal for each instruction. */
function instructions(expression: string, text: string): Uint8Array {
  const [count, ...lines] = text.trim().split('\n')
  if (Number(count) !== lines.length || lines.length > MAX_INSTRUCTIONS) {
    throw new FilterError(expression, `tcpdump -ddd gave ${lines.length} instructions`)
  }
  const program = Buffer.alloc(lines.length * 8)
  for (const [i, line] of lines.entries()) {
    const [code = 0, jumpTrue = 0, jumpFalse = 0, k = 0] = line.split(' ').map(Number)
    program.writeUInt16LE(code, i * 8)
    program.writeUInt8(jumpTrue, i * 8 + 2)
    program.writeUInt8(jumpFalse, i * 8 + 3)
    program.writeUInt32LE(k, i * 8 + 4)
  }
  return program
}
