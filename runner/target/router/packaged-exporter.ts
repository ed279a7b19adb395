import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { inNetns } from '../../../generators/linux/netns.ts'
import { formatIpv4 } from '../../../generators/wire/address.ts'
import type { ExporterWanted } from '../../suite/plan-types.ts'
import { Unsupported } from '../../unsupported.ts'
import type { SiteExporter } from '../target.ts'
import { Daemons } from './daemon.ts'
import { packaged } from './debian.ts'
import type { BedRouter } from './router-bed.ts'
import { COLLECTOR_ADDRESS, COLLECTOR_PORT } from './topology.ts'

const COLLECTOR = `${formatIpv4(COLLECTOR_ADDRESS)}:${COLLECTOR_PORT}`
const START_LIMIT_MS = 10_000
const POLL_MS = 20
/** What they counted last is written out within this. */
const END_LIMIT_MS = 10_000

/**
 * softflowd, one process an interface: it captures by libpcap and knows neither directions nor outputs. Its cache leaves when its control
 * socket says so.
 */
export async function startSoftflowd(router: BedRouter, { monitors }: ExporterWanted): Promise<SiteExporter> {
  const daemons = new Daemons(router.name, router.ns)
  const names = [...new Set(monitors.map(monitor => monitor.interface))]
  const binary = packaged('softflowd', '/usr/sbin/softflowd')
  try {
    for (const name of names) {
      const where = ['-p', `/run/${name}.pid`, '-c', `/run/${name}.ctl`]
      const index = router.indices.get(name)
      await daemons.start(name, [binary, '-i', `${index}:${name}`, '-n', COLLECTOR, '-v', '9', '-d', '-N', ...where])
      await there(daemons, `/run/${name}.ctl`)
    }
  } catch (error) {
    await daemons.stop()
    throw error
  }
  const expire = async (name: string) => {
    await execa(packaged('softflowd', '/usr/sbin/softflowctl'), [
      '-c',
      daemons.pathOf(`/run/${name}.ctl`),
      'expire-all',
    ])
  }
  return {
    product: `softflowd ${await versionOf(binary, '-h')}`,
    flush: async () => {
      await Promise.all(names.map(expire))
    },
    close: () => daemons.stop(),
  }
}

const GROUPS = { input: 5, output: 6 } as const

/**
 * uacctd of pmacct, one process a direction, behind log groups of nftables: prerouting sees what comes in, forward each copy with
 * both of its interfaces. Its cache leaves when it ends.
 */
export async function startUacctd(router: BedRouter, { monitors }: ExporterWanted): Promise<SiteExporter> {
  const daemons = new Daemons(router.name, router.ns)
  const binary = packaged('pmacct', '/usr/sbin/uacctd')
  const directions = (['input', 'output'] as const).filter(way => monitors.some(({ direction }) => direction === way))
  try {
    for (const way of directions) {
      const config = { file: `/run/${way}.conf`, text: uacctdConfig(way) }
      await daemons.start(way, [binary, '-f', config.file], config)
    }
    await logTo(router, nftRules(monitors))
    await Promise.all(directions.map(way => bound(router, GROUPS[way], daemons)))
  } catch (error) {
    await daemons.stop('SIGINT')
    throw error
  }
  return {
    product: `uacctd ${await versionOf(binary, '-V')}`,
    // With SIGTERM its core process waits for a plugin that is gone.
    flush: () => daemons.stop('SIGINT', END_LIMIT_MS),
    close: async () => {
      await daemons.stop('SIGINT', END_LIMIT_MS)
      await logTo(router, 'delete table ip castproof\n')
    },
  }
}

function uacctdConfig(way: 'input' | 'output'): string {
  return [
    ...['daemonize: false', `uacctd_group: ${GROUPS[way]}`, 'plugins: nfprobe[flows]', 'pidfile: /run/uacctd.pid'],
    ...[`nfprobe_receiver[flows]: ${COLLECTOR}`, 'nfprobe_version[flows]: 9'],
    `nfprobe_direction[flows]: ${way === 'input' ? 'in' : 'out'}`,
    `nfprobe_engine[flows]: ${GROUPS[way]}`,
    'aggregate[flows]: src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface',
    '',
  ].join('\n')
}

/** `multicastOnly` is a match of the rule. */
function nftRules(monitors: ExporterWanted['monitors']): string {
  const rules = (way: 'input' | 'output') =>
    monitors
      .filter(({ direction }) => direction === way)
      .map(monitor => {
        const only = monitor.multicastOnly ? 'ip daddr 224.0.0.0/4 ' : ''
        return `  ${way === 'input' ? 'iifname' : 'oifname'} "${monitor.interface}" ${only}log group ${GROUPS[way]}`
      })
  const chain = (name: string, hook: string, lines: string[]) => [
    ` chain ${name} {`,
    `  type filter hook ${hook}`,
    ...lines,
    ' }',
  ]
  return [
    'table ip castproof {',
    ...chain('arriving', 'prerouting priority -300', rules('input')),
    ...chain('crossing', 'forward priority 0', rules('output')),
    '}',
    '',
  ].join('\n')
}

async function logTo({ ns }: BedRouter, rules: string): Promise<void> {
  await inNetns(ns, () => execa(packaged('nftables', '/usr/sbin/nft'), ['-f', '-'], { input: rules }))
}

/** The kernel's list of log groups that somebody listens to. */
async function bound({ ns }: BedRouter, group: number, daemons: Daemons): Promise<void> {
  const isBound = async () => {
    const { stdout } = await inNetns(ns, () => execa('cat', ['/proc/net/netfilter/nfnetlink_log']))
    return stdout.split('\n').some(line => Number(line.trim().split(/\s+/)[0]) === group)
  }
  await until(isBound, daemons, `log group ${group}`)
}

function there(daemons: Daemons, path: string): Promise<void> {
  return until(async () => existsSync(daemons.pathOf(path)), daemons, path)
}

async function until(holds: () => Promise<boolean>, daemons: Daemons, what: string): Promise<void> {
  const endMs = performance.now() + START_LIMIT_MS
  while (!(await holds())) {
    if (daemons.trouble !== undefined || performance.now() > endMs)
      throw new Unsupported({
        feature: 'flow exporter',
        needs: what,
        found: daemons.trouble ?? `none in ${START_LIMIT_MS} ms`,
      })
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

async function versionOf(binary: string, flag: string): Promise<string> {
  const { stdout, stderr } = await execa(binary, [flag], { reject: false })
  return /\b(\d+\.\d+(\.\d+)*)/.exec(`${stdout}\n${stderr}`)?.[1] ?? ''
}
