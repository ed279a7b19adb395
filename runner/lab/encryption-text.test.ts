import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { XfrmState } from '../observation.ts'
import { encryptionText } from './encryption-text.ts'

const test = suite('encryption in lab status')

const STATE: XfrmState = {
  src: '10.224.0.4',
  dst: '10.224.0.5',
  spi: 3,
  direction: 'out',
  layer: 'overlay',
  oseq: 0x1e3,
  seq: 0,
  esn: true,
  windowPackets: 1024,
}

test('without encryption it says so', () => {
  assert.equal(encryptionText(undefined, []), ['Encryption:  Disabled'])
})

test('keys in use, the highest number sent, errors by name', () => {
  const states = [STATE, { ...STATE, spi: 4, oseq: 2 }, { ...STATE, direction: 'in' as const, oseq: 0, seq: 9999 }]
  assert.equal(encryptionText('both', [{ node: 'n1', states, errors: { XfrmInError: 0, XfrmInNoStates: 7 } }]), [
    'Encryption:  IPsec (both)',
    '  n1  Keys in use: 3 (SPI 3, 4)',
    '      Max Seq. Number: 0x1e3/0xffffffffffffffff',
    '      Errors: 7',
    '        XfrmInNoStates: 7',
  ])
})

test('a node without states has none in use and nothing sent', () => {
  assert.equal(encryptionText('both', [{ node: 'n3', states: [], errors: {} }]), [
    'Encryption:  IPsec (both)',
    '  n3  Keys in use: 0 (SPI none)',
    '      Max Seq. Number: N/A',
    '      Errors: 0',
  ])
})

test('numbers of 32 bits end at ffffffff', () => {
  const states = [{ ...STATE, esn: false }]
  assert.match(encryptionText('both', [{ node: 'n1', states, errors: {} }]).join(), /0x1e3\/0xffffffff(?!f)/)
})

test.run()
