import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { packaged } from '../target/router/debian.ts'
import { type Analyser, type InputClaim, type RunningAnalyser, until } from './analyser.ts'
import { startCollector } from './collector-process.ts'
import { FENCE_INPUT } from './feed.ts'

const PORT = 2055
const PIPE_BYTES = 64 << 20
const TABLES = ['all', 'ingress', 'egress'] as const
type Table = (typeof TABLES)[number]

/** Tags by field 61, which pmacct wants done by hand: without the filters each direction counts as input. */
const TAGS = 'set_tag=1 ip=0.0.0.0/0 direction=0\nset_tag=2 ip=0.0.0.0/0 direction=1\n'

/** pmacct's collector with tables in memory, `aggregate: in_iface`. */
export const nfacctd: Analyser = {
  async start(ns, directory): Promise<RunningAnalyser> {
    const config = join(directory, 'nfacctd.conf')
    writeFileSync(join(directory, 'tags.map'), TAGS)
    writeFileSync(config, configText(directory))
    const collector = startCollector(ns, [packaged('pmacct', '/usr/sbin/nfacctd'), '-f', config], directory)
    // On SIGTERM its core process waits for a plugin that is gone.
    const stop = () => collector.stop('SIGINT')
    return {
      port: PORT,
      async report() {
        const read = (table: Table) => ask(directory, table)
        // Each table is a process of its own.
        const counted = async (table: Table) => (await read(table)).some(({ input }) => input === FENCE_INPUT)
        for (const table of TABLES)
          await until(`nfacctd to count the last record in its table ${table}`, collector, () => counted(table))
        const [all, ingressOnly, egressOnly] = [await read('all'), await read('ingress'), await read('egress')]
        return { version: await version(), all, ingressOnly, egressOnly }
      },
      trouble: collector.trouble,
      stop,
    }
  },
}

function configText(directory: string): string {
  const plugins = TABLES.map(table => `memory[${table}]`).join(', ')
  const tables = TABLES.flatMap(table => [`aggregate[${table}]: in_iface`, `imt_path[${table}]: ${directory}/${table}`])
  return [
    ...['daemonize: false', 'nfacctd_ip: 127.0.0.1', `nfacctd_port: ${PORT}`, `plugins: ${plugins}`, ...tables],
    // Its queue to a table is 4 MB, and what finds it full is dropped with a line in the log.
    `plugin_pipe_size: ${PIPE_BYTES}`,
    ...[`pre_tag_map: ${directory}/tags.map`, 'pre_tag_filter[ingress]: 1', 'pre_tag_filter[egress]: 2', ''],
  ].join('\n')
}

async function ask(directory: string, table: Table): Promise<InputClaim[]> {
  const words = ['-s', '-p', join(directory, table), '-O', 'json']
  const { stdout, failed } = await execa(packaged('pmacct', '/usr/bin/pmacct'), words, {
    reject: false,
    timeout: 10_000,
  })
  return failed ? [] : readJson(stdout)
}

/** A JSON object a line. */
export function readJson(text: string): InputClaim[] {
  const rows = text.split('\n').filter(line => line.startsWith('{'))
  return rows.map(line => {
    const { iface_in: input, packets, bytes } = JSON.parse(line) as { iface_in: number; packets: number; bytes: number }
    return { input, packets: BigInt(packets), bytes: BigInt(bytes) }
  })
}

async function version(): Promise<string> {
  const { stdout, stderr } = await execa(packaged('pmacct', '/usr/sbin/nfacctd'), ['-V'], { reject: false })
  return /(\d+\.\d+(\.\d+)?)/.exec(`${stdout}${stderr}`)?.[1] ?? ''
}
