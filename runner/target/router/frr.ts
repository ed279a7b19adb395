import { existsSync } from 'node:fs'
import { formatIpv4 } from '../../../generators/wire/address.ts'
import type { Daemons } from './daemon.ts'
import { libraryPath, packaged } from './debian.ts'
import { type RouterInterface, type RouterPlace, RP_ADDRESS } from './topology.ts'
import { vty } from './vty.ts'

export interface FrrWanted {
  /** False where another PIM daemon runs. */
  pim: boolean
  /** The document's RP is learnt by Bootstrap; FRR before 10.2 can only be told. */
  staticRp: boolean
  /** Where Loopback0 is; left out: `lo`. */
  loopback?: { name: string; prefixBits: number }
}

/** zebra and ospfd, and pimd unless another one does that. They are ready when `ready.ts` says so. */
export async function startFrr(daemons: Daemons, router: RouterPlace, wanted: FrrWanted): Promise<void> {
  await daemons.start('zebra', command('zebra'), { file: CONFIG, text: frrConfig(router, wanted) })
  // The others give up for seconds when zebra's socket is not there yet.
  await socketThere(daemons)
  for (const name of wanted.pim ? ['ospfd', 'pimd'] : ['ospfd']) await daemons.start(name, command(name))
}

const CONFIG = '/run/frr.conf'
const ZEBRA_SOCKET = '/run/zserv.api'

const SOCKET_LIMIT_MS = 10_000
const POLL_MS = 20

async function socketThere(daemons: Daemons): Promise<void> {
  const endMs = performance.now() + SOCKET_LIMIT_MS
  while (!existsSync(daemons.pathOf(ZEBRA_SOCKET))) {
    if (daemons.trouble !== undefined) throw new Error(daemons.trouble)
    if (performance.now() > endMs)
      throw new Error(`${daemons.name}: zebra has not opened its socket within ${SOCKET_LIMIT_MS} ms`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

function command(name: string): string[] {
  return [
    ...['env', `LD_LIBRARY_PATH=${libraryPath()}`],
    ...[packaged('frr', `/usr/lib/frr/${name}`), '-u', 'root', '-g', 'root', '-A', '127.0.0.1', '-P', '0'],
    ...['-f', CONFIG, '-z', ZEBRA_SOCKET, '-i', `/run/${name}.pid`, '--vty_socket', '/run', '--log', 'stdout'],
  ]
}

/** Hello timers of OSPF and PIM are scaled down, so that a site is up in seconds; all else is the document's. */
function frrConfig(router: RouterPlace, { pim, staticRp, loopback = LO }: FrrWanted): string {
  const lines = [
    `hostname ${router.name}`,
    `interface ${loopback.name}`,
    ...(pim ? [' ip pim'] : []),
    ...router.interfaces.flatMap(item => interfaceLines(item, pim)),
    ...(staticRp ? [`ip pim rp ${formatIpv4(RP_ADDRESS)} 224.0.0.0/4`] : []),
    'router ospf',
    ` ospf router-id ${formatIpv4(router.loopback)}`,
    ` network ${networkOf({ address: router.loopback, prefixBits: loopback.prefixBits })} area 0`,
    ...router.interfaces.map(item => ` network ${networkOf(item)} area 0`),
  ]
  return `${lines.join('\n')}\n`
}

function interfaceLines(item: RouterInterface, pim: boolean): string[] {
  const routed = item.kind === 'core'
  return [
    `interface ${item.name}`,
    ' ip ospf hello-interval 1',
    ' ip ospf dead-interval 4',
    // No Designated Router to wait for, and none to elect where there is one host.
    ...(routed ? [' ip ospf network point-to-point'] : [' ip ospf passive']),
    // pimd of Debian ages neighbours every five seconds: a holdtime below that makes them flap.
    ...(pim && item.kind !== 'collector' ? [' ip pim', ' ip pim hello 1 20'] : []),
    ...(pim && item.kind === 'lan' ? [' ip igmp'] : []),
  ]
}

const LO = { name: 'lo', prefixBits: 32 }

function networkOf({ address, prefixBits }: Pick<RouterInterface, 'address' | 'prefixBits'>): string {
  const mask = (0xffffffff << (32 - prefixBits)) >>> 0
  return `${formatIpv4((address & mask) >>> 0)}/${prefixBits}`
}

export async function frrVersion(daemons: Daemons | undefined): Promise<string> {
  if (!daemons) return ''
  const text = await vty(daemons.pathOf('/run/pimd.vty'), 'show version')
  return `FRR ${/FRRouting (\S+)/.exec(text)?.[1] ?? ''}`
}

/** What pimd of FRR says, as JSON. */
export async function askPim(daemons: Daemons, question: string): Promise<Record<string, unknown>> {
  return JSON.parse(await vty(daemons.pathOf('/run/pimd.vty'), `show ip pim ${question} json`)) as Record<
    string,
    unknown
  >
}
