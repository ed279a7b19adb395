import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { openLedger } from './ledger.ts'
import { RUN } from './testdata/frames.ts'
import { GOLDEN, goldenPath, twin, twinPath, writeStamped } from './testdata/golden.ts'

const test = suite('golden')

/** tcpdump's own words differ from release to release. */
const ourLines = (text: string) => text.replace(/^\d+ tcpdump: .*$/gm, '')

for (const name of Object.keys(GOLDEN)) {
  test(`${name}: our text is as it was reviewed beside tcpdump's`, () => {
    assert.is(ourLines(twin(name)), ourLines(readFileSync(twinPath(name), 'utf8')))
  })
}

test('our writer gives the same bytes as when they were reviewed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-golden-'))
  try {
    writeStamped(join(directory, 'now.pcapng'))
    const [now, then] = [join(directory, 'now.pcapng'), goldenPath('castproof-stamped.pcapng')].map(path =>
      readFileSync(path, 'hex'),
    )
    assert.is(now, then)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('every capture in testdata is listed', () => {
  const captures = readdirSync(goldenPath('')).filter(name => /\.pcap(ng)?$/.test(name))
  assert.equal(captures.sort(), Object.keys(GOLDEN).sort())
})

test('what Linux and scapy send is background, by name', () => {
  const { ledger, recording } = openLedger(
    goldenPath(''),
    ['linux-igmp.pcap', 'linux-vxlan.pcap', 'scapy-mixed.pcap'],
    { runId: RUN },
  )
  assert.is(ledger.count, 0)
  assert.equal(ledger.background, {
    igmp: 11,
    arp: 2,
    'vxlan arp': 2,
    'vxlan udp 192.168.9.2:5001': 1,
    'vxlan icmp': 1,
    esp: 1,
    icmp: 1,
    'vxlan udp 233.252.0.1:5001': 1,
    'malformed ipv4': 1,
    icmpv6: 1,
    'udp 233.252.0.1:5001': 1,
    'ipv4 fragment': 2,
  })
  recording.close()
})

test.run()
