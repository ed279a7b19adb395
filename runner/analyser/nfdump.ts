import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { packaged } from '../target/router/debian.ts'
import type { Analyser, InputClaim, RunningAnalyser } from './analyser.ts'
import { startCollector } from './collector-process.ts'

const PORT = 2055

/** nfcapd writes what it gets, nfdump adds it up by input interface (`-s inif`). */
export const nfdump: Analyser = {
  async start(ns, directory): Promise<RunningAnalyser> {
    const files = join(directory, 'flows')
    mkdirSync(files)
    const nfcapd = packaged('nfdump', '/usr/bin/nfcapd')
    const collector = startCollector(
      ns,
      [nfcapd, '-w', files, '-b', '127.0.0.1', '-p', String(PORT), '-t', '3600'],
      directory,
    )
    return {
      port: PORT,
      async report() {
        // The file is whole once nfcapd has ended.
        await collector.stop()
        const [all, ingressOnly, egressOnly] = await Promise.all(
          ['any', 'flowdir 0', 'flowdir 1'].map(filter => ask(files, filter)),
        )
        return {
          version: await version(),
          all: all ?? [],
          ingressOnly: ingressOnly ?? [],
          egressOnly: egressOnly ?? [],
        }
      },
      trouble: collector.trouble,
      stop: collector.stop,
    }
  },
}

async function ask(files: string, filter: string): Promise<InputClaim[]> {
  const file = readdirSync(files).find(name => name.startsWith('nfcapd.2'))
  if (file === undefined) throw new Error('nfcapd left no file')
  const words = ['-q', '-r', join(files, file), '-s', 'inif/packets', '-n', '0', '-o', 'csv', filter]
  const { stdout } = await execa(packaged('nfdump', '/usr/bin/nfdump'), words, { timeout: 60_000 })
  return readCsv(stdout)
}

/** Columns by their name in the head: `val` is the interface. */
export function readCsv(text: string): InputClaim[] {
  const rows = text.split('\n').map(line => line.trim().split(','))
  const head = rows.findIndex(row => row.includes('val') && row.includes('pkt'))
  const column = (row: string[], name: string) => row[rows[head]?.indexOf(name) ?? -1] ?? ''
  const body = head < 0 ? [] : rows.slice(head + 1).filter(row => /^\d+$/.test(column(row, 'val')))
  return body.map(row => ({
    input: Number(column(row, 'val')),
    packets: BigInt(column(row, 'pkt')),
    bytes: BigInt(column(row, 'byt')),
  }))
}

async function version(): Promise<string> {
  const { stdout } = await execa(packaged('nfdump', '/usr/bin/nfdump'), ['-V'], { reject: false })
  return /(\d+\.\d+(\.\d+)?)/.exec(stdout)?.[1] ?? ''
}
