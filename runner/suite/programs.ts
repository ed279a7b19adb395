import type { z } from 'zod'
import { bool, int, type Leaf, leaf, mapping, oneOf, text } from './leaf.ts'
import type { References } from './names.ts'

/** Parameters after planning: addresses as dotted text, put in by the runner where only the site knows them. */
export type ProgramParams = Record<string, string | number | boolean>

/** Where the program runs. */
export interface ProgramPlace {
  /** The pod's interface. */
  interface: string
  /** Its address, dotted. */
  address: string
}

/** Arguments for execve, never a shell's; `input` is all of its standard input. */
export interface ProgramCommand {
  argv: string[]
  input?: string
}

/** An ordinary program that a suite may run in a pod. The table is closed: suites bring no command lines. */
export interface Program {
  about: string
  /** Capability that a case gets as a need of its own. */
  needs: string
  /** The YAML form of `params`. */
  params(refs: References): z.ZodType<ProgramParams>
  command(params: ProgramParams, place: ProgramPlace): ProgramCommand
}

function table<const Names extends string>(programs: Record<Names, Program>): Readonly<Record<Names, Program>> {
  return programs
}

function schema(shape: z.core.$ZodLooseShape): z.ZodType<ProgramParams> {
  return mapping(shape, 'the parameters of the program') as unknown as z.ZodType<ProgramParams>
}

const port = () => int(1, 65_535, 'a UDP or TCP port')

/** A pcap-filter(7) expression: words only, so that it can be nothing but a filter. */
const filterText: Leaf<string> = leaf({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && /^[\w\s.:()[\]&|!<>=+*/'-]{0,400}$/.test(value) && !value.startsWith('-')
    ? value
    : problem('bad-filter', 'not a pcap-filter(7) expression', "filter: 'igmp or udp port 5001'"),
)

export const PROGRAMS = table({
  'socat-send': {
    about:
      'sends one UDP datagram with socat, or as many as `count` says, and, with replyWaitMs, prints what comes back',
    needs: 'socat',
    params: refs =>
      schema({
        to: refs.addressText,
        port: port(),
        text: text('text', 1400),
        count: int(1, 10_000).exactOptional(),
        ttl: int(0, 255).exactOptional(),
        sourcePort: port().exactOptional(),
        replyWaitMs: int(1, 60_000).exactOptional(),
      }),
    command: (params, place) => socatSend(params, place),
  },
  'socat-receive': {
    about:
      'joins a group with socat and prints each datagram; with echo: true sends each back to its sender, with fork: false one process takes all',
    needs: 'socat',
    params: refs =>
      schema({
        group: refs.addressText.exactOptional(),
        port: port(),
        echo: bool().exactOptional(),
        fork: bool().exactOptional(),
        receiveBufferBytes: int(1, 1 << 24).exactOptional(),
      }),
    command: (params, place) => socatReceive(params, place),
  },
  tcpdump: {
    about: 'prints one line for each frame of the pod that matches a pcap-filter(7) expression',
    needs: 'tcpdump',
    params: () =>
      schema({
        filter: filterText,
        count: int(1, 100_000).exactOptional(),
        direction: oneOf(['in', 'out', 'inout']).exactOptional(),
        verbose: bool().exactOptional(),
      }),
    command: (params, place) => tcpdump(params, place),
  },
  'http-server': {
    about: 'answers GET / with 200: the unicast control that uses TCP',
    needs: 'http',
    params: () => schema({ port: port() }),
    command: (params, place) => ({
      argv: [
        'python3',
        '-u',
        '-m',
        'http.server',
        String(params['port']),
        '--bind',
        place.address,
        '--directory',
        '/proc/self/fdinfo',
      ],
    }),
  },
  'http-client': {
    about: 'fetches / and prints the status code',
    needs: 'http',
    params: refs => schema({ to: refs.addressText, port: port(), timeoutMs: int(1, 60_000).exactOptional() }),
    command: params => ({
      argv: [
        ...['curl', '--silent', '--show-error', '--output', '/dev/null', '--write-out', '%{http_code}\\n'],
        ...['--max-time', seconds(params['timeoutMs'] ?? 5000), `http://${params['to']}:${params['port']}/`],
      ],
    }),
  },
  ping: {
    about: 'ICMP echo to a pod or a group',
    needs: 'ping',
    params: refs =>
      schema({
        to: refs.addressText,
        count: int(1, 1000).exactOptional(),
        payloadBytes: int(0, 65_000).exactOptional(),
        ttl: int(1, 255).exactOptional(),
        timeoutMs: int(1, 60_000).exactOptional(),
      }),
    command: (params, place) => ping(params, place),
  },
})

export type ProgramName = keyof typeof PROGRAMS
export const PROGRAM_NAMES = Object.keys(PROGRAMS) as ProgramName[]

/** How a planned `run` step is started; throws on a program that is not in the table. */
export function programCommand(program: string, params: ProgramParams, place: ProgramPlace): ProgramCommand {
  const entry = PROGRAM_NAMES.find(name => name === program)
  if (entry === undefined) throw new Error(`no program ${program} in the table`)
  return PROGRAMS[entry].command(params, place)
}

function seconds(ms: string | number | boolean): string {
  return String(Number(ms) / 1000)
}

function socatSend(params: ProgramParams, place: ProgramPlace): ProgramCommand {
  const wait = params['replyWaitMs']
  const options = [`ip-multicast-if=${place.address}`]
  if (params['ttl'] !== undefined) options.push(`ip-multicast-ttl=${params['ttl']}`, `ip-ttl=${params['ttl']}`)
  if (params['sourcePort'] !== undefined) options.push(`bind=:${params['sourcePort']}`)
  const target = ['-', `UDP4-DATAGRAM:${params['to']}:${params['port']},${options.join(',')}`]
  const mode = wait === undefined ? ['-u'] : [`-t${seconds(wait)}`]
  const line = `${params['text']}\n`
  // Each read is a datagram.
  const block = params['count'] === undefined ? [] : ['-b', String(Buffer.byteLength(line))]
  return { argv: ['socat', ...block, ...mode, ...target], input: line.repeat(Number(params['count'] ?? 1)) }
}

function socatReceive(params: ProgramParams, place: ProgramPlace): ProgramCommand {
  const join = params['group'] === undefined ? [] : [`ip-add-membership=${params['group']}:${place.interface}`]
  const buffer = params['receiveBufferBytes'] === undefined ? [] : [`rcvbuf=${params['receiveBufferBytes']}`]
  const fork = params['fork'] !== false || params['echo'] === true
  const options = [...join, ...buffer, 'reuseaddr', ...(fork ? ['fork'] : [])]
  const listen = [`UDP4-${fork ? 'RECVFROM' : 'RECV'}:${params['port']}`, ...options].join(',')
  if (params['echo'] === true) return { argv: ['socat', '-v', listen, 'PIPE'] }
  // It says when it is ready.
  return { argv: ['socat', ...(fork ? [] : ['-d', '-d']), '-u', listen, '-'] }
}

function tcpdump(params: ProgramParams, place: ProgramPlace): ProgramCommand {
  const argv = ['tcpdump', '-l', '-nn', '--immediate-mode', '-i', place.interface]
  if (params['verbose'] === true) argv.push('-v')
  if (params['direction'] !== undefined) argv.push('-Q', String(params['direction']))
  if (params['count'] !== undefined) argv.push('-c', String(params['count']))
  return { argv: [...argv, '--', String(params['filter'])] }
}

function ping(params: ProgramParams, place: ProgramPlace): ProgramCommand {
  const argv = ['ping', '-n', '-I', place.interface, '-c', String(params['count'] ?? 3), '-i', '0.2']
  argv.push('-W', seconds(params['timeoutMs'] ?? 1000))
  if (params['payloadBytes'] !== undefined) argv.push('-s', String(params['payloadBytes']))
  if (params['ttl'] !== undefined) argv.push('-t', String(params['ttl']))
  return { argv: [...argv, String(params['to'])] }
}
