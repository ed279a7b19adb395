import { execa } from 'execa'
import { formatIpv4 } from '../../../generators/wire/address.ts'
import { ip } from '../namespaces.ts'
import type { Daemons } from './daemon.ts'
import { packaged } from './debian.ts'
import type { BedRouter } from './router-bed.ts'

/** pimd has no use for a loopback device, and refuses a /32: Loopback0 is one end of a veth, with a /30. */
export const PIMD_LOOPBACK = { name: 'lo0', prefixBits: 30 } as const

export async function makePimdLoopback({ ns, place }: BedRouter): Promise<void> {
  const { name, prefixBits } = PIMD_LOOPBACK
  const address = formatIpv4(place.loopback)
  await ip(ns, [
    `addr del ${address}/32 dev lo`,
    `link add ${name} type veth peer name ${name}x`,
    `addr add ${address}/${prefixBits} dev ${name}`,
    `link set ${name} up`,
    `link set ${name}x up`,
  ])
}

/** Candidate BSR and candidate RP, as the document's R1. */
export async function startPimd(daemons: Daemons, { place }: BedRouter): Promise<void> {
  const config = { file: CONFIG, text: pimdConfig(place.loopback, place.interfaces.filter(isDisabled).map(nameOf)) }
  await daemons.start('pimd', [packaged('pimd', '/usr/sbin/pimd'), '-f', '-c', CONFIG], config)
}

const CONFIG = '/run/pimd.conf'

function isDisabled({ kind }: { kind: string }): boolean {
  return kind === 'collector'
}

function nameOf({ name }: { name: string }): string {
  return name
}

/** The candidate RP is told every 30 s: its holdtime is 2.5 of that, and must outlive two Bootstrap messages, 60 s apart. */
function pimdConfig(loopback: number, disabled: readonly string[]): string {
  const address = formatIpv4(loopback)
  const lines = [
    ...disabled.map(name => `phyint ${name} disable`),
    `bsr-candidate ${address} priority 0`,
    `rp-candidate ${address} time 30 priority 0`,
    'group-prefix 224.0.0.0 masklen 4',
    'spt-threshold packets 0 interval 5',
  ]
  return `${lines.join('\n')}\n`
}

export async function pimdVersion(): Promise<string> {
  const { stdout } = await execa(packaged('pimd', '/usr/sbin/pimd'), ['-v'])
  return `pimd ${/(\d+\.\d+(\.\d+)*)/.exec(stdout)?.[1] ?? ''}`
}
