import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { invoke } from '../../../test/invoke.ts'
import { skip } from '../../../test/skip.ts'
import { suite } from '../../../test/suite.ts'
import { router } from '../router.ts'

const test = suite('flow export of the router target', { timeoutMs: 200_000 })
const root = fileURLToPath(new URL('../../..', import.meta.url))

async function lacks(): Promise<boolean> {
  const lacking = (await router.probe()).filter(({ ok }) => !ok)
  for (const { name, found } of lacking) skip(name, found)
  return lacking.length > 0
}

/** Columns of every flow record of a capture, as tshark reads them. */
async function recordsByTshark(file: string, fields: readonly string[]): Promise<string[][]> {
  const wanted = fields.flatMap(field => ['-e', field])
  const filter = 'cflow && !icmp && frame.packet_flags_direction == 1'
  const how = [
    '-d',
    'udp.port==2055,cflow',
    '-o',
    'cflow.max_template_fields:60',
    '-Y',
    filter,
    '-T',
    'fields',
    ...wanted,
  ]
  const { stdout } = await execa('tshark', ['-r', file, ...how])
  return stdout.split('\n').map(line => line.split('\t'))
}

test('the three situations pass, tshark reads the same records, and a fault is seen red', async () => {
  if (await lacks()) return
  const directory = mkdtempSync(join(tmpdir(), 'castproof-flow-export-'))
  const situations = join(root, 'suites/accounting/situations.yaml')
  try {
    const out = join(directory, 'run')
    const run = await invoke(['run', situations, '--out', out], '/', 120_000)
    assert.is(run.exitCode, 0, run.stdout + run.stderr)
    const capture = join(out, 'taps/router-1-collector.pcapng')
    const [records] = [
      await recordsByTshark(capture, ['cflow.packets', 'cflow.mulpackets', 'cflow.multicast_replication_factor']),
    ]
    const flows = records.flatMap(columns => {
      const [packets = [], copies = [], factors = []] = columns.map(column =>
        column.split(',').filter(text => text !== ''),
      )
      return packets.map((n, i) => ({ packets: Number(n), copies: Number(copies[i]), factor: Number(factors[i]) }))
    })
    const documents = flows.filter(({ packets }) => packets === 400)
    // One ingress record in two of the situations, three egress records in two of them.
    assert.is(documents.filter(({ factor }) => factor === 3).length, 2)
    assert.is(documents.length, 8)
    for (const { packets, copies, factor } of documents) assert.is(copies, factor * packets)
    const broken = await invoke(
      ['run', situations, '--fault', 'factor-zero', '--out', join(directory, 'red')],
      '/',
      120_000,
    )
    assert.is(broken.exitCode, 1, broken.stdout)
    assert.match(broken.stdout, 'replication factor 0, on the wire 3')
    const record = JSON.parse(readFileSync(join(directory, 'red/run.json'), 'utf8')) as { faults: string[] }
    assert.equal(record.faults, ['factor-zero'])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
