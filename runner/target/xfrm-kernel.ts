import { readFileSync } from 'node:fs'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import type { XfrmState } from '../observation.ts'
import type { BedNode } from './bed.ts'
import type { IpSession } from './ip-session.ts'

/** For lines that hold keys: what `ip` says about one that it does not like may hold them too. */
export async function ipWithKeys(session: IpSession, lines: readonly string[]): Promise<string> {
  try {
    return await session.run(lines)
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    // Without the error itself, which knows more.
    throw new Error(`ip xfrm: ${said.replace(/0x[0-9a-f]{9,}/gi, '[key]')}`)
  }
}

/** Every counter of the namespace's /proc/net/xfrm_stat; all mean loss. */
export function readXfrmStat(ns: Netns): Record<string, number> {
  const text = inNetns(ns, () => readFileSync('/proc/thread-self/net/xfrm_stat', 'latin1'))
  return Object.fromEntries([...text.matchAll(/^(\w+)\s+(\d+)$/gm)].map(([, name, value]) => [name, Number(value)]))
}

/** States of a node, told without keys: `nokeys`, so that they are not even in this process. */
export async function readStates(session: IpSession, node: BedNode, nodes: readonly BedNode[]): Promise<XfrmState[]> {
  const text = await session.run(['xfrm state list nokeys'])
  const own = new Set([node.address, node.router])
  const routers = new Set(nodes.map(one => one.router))
  return text
    .split(/^(?=src )/m)
    .filter(part => part.startsWith('src '))
    .map(part => stateOf(part, own, routers))
}

function stateOf(text: string, own: ReadonlySet<number>, routers: ReadonlySet<number>): XfrmState {
  const [, src = '', dst = ''] = /^src (\S+) dst (\S+)/.exec(text) ?? []
  const esn = text.includes('anti-replay esn context')
  const number = (name: string) => Number(new RegExp(`\\b${name} (0x[0-9a-f]+|\\d+)`).exec(text)?.[1] ?? 0)
  const counted = (name: string) => (esn ? number(`${name}-hi`) * 2 ** 32 : 0) + number(name)
  return {
    src,
    dst,
    spi: number('spi'),
    direction: own.has(parseIpv4(src)) ? 'out' : 'in',
    layer: routers.has(parseIpv4(src)) ? 'pod' : 'overlay',
    oseq: counted('oseq'),
    seq: counted('seq'),
    esn,
    windowPackets: esn ? number('replay_window') : number('replay-window'),
  }
}
