import * as assert from 'uvu/assert'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import { parseSecret } from './secret.ts'
import { addState, blockPolicy, deleteState, putPolicy, type Tunnel, VXLAN_SELECTOR } from './xfrm.ts'

const test = suite('states and policies for ip')

const KEY = '00112233445566778899aabbccddeeff01020304'
const { keys } = parseSecret(`3+ rfc4106(gcm(aes)) ${KEY} 128`, 'k')
const { keys: split } = parseSecret(`3+ hmac(sha256) ${'ab'.repeat(32)} cbc(aes) ${'cd'.repeat(16)}`, 'k')
const src = parseIpv4('10.224.0.4')
const dst = parseIpv4('10.224.0.5')
const overlay: Tunnel = {
  layer: 'overlay',
  src,
  dst,
  node: src,
  selector: `src 10.224.0.4/32 dst 10.224.0.5/32 ${VXLAN_SELECTOR}`,
}
const pod: Tunnel = {
  layer: 'pod',
  src: parseIpv4('10.1.255.254'),
  dst: parseIpv4('10.2.255.254'),
  node: src,
  selector: 'src 10.1.0.0/16 dst 10.2.0.0/16',
}

test('a state to send with', () => {
  assert.is(
    addState(overlay, 'out', 3, keys, { esn: true, windowPackets: 1024 }),
    `xfrm state add src 10.224.0.4 dst 10.224.0.5 proto esp spi 3 reqid 2 mode tunnel replay-window 1024 flag esn aead rfc4106(gcm(aes)) 0x${KEY} 128`,
  )
})

test('a state to receive with says by its mark who sends, for the SPI is the same for all', () => {
  assert.match(addState(overlay, 'in', 3, keys, { esn: true, windowPackets: 1024 }), / mark 265472 mask 0xffff0f00 /)
  assert.is(
    deleteState(overlay, 'in', 3),
    'xfrm state delete src 10.224.0.4 dst 10.224.0.5 proto esp spi 3 mark 265472 mask 0xffff0f00',
  )
})

test('what pods get from XFRM is known by another mark than tunnel packets', () => {
  const counting = { esn: false, windowPackets: 64 }
  assert.match(addState(pod, 'in', 3, split, counting), / reqid 1 .* output-mark 3328 mask 0xffffffff /)
  assert.match(addState(overlay, 'in', 3, split, counting), / reqid 2 .* output-mark 1024 mask 0xffffffff /)
})

test('keys of the split form; without extended numbers no flag; no window where there is none', () => {
  const line = addState(overlay, 'out', 3, split, { esn: false, windowPackets: 0 })
  assert.match(line, / auth hmac\(sha256\) 0x(ab){32} enc cbc\(aes\) 0x(cd){16}$/)
  assert.not.match(line, /esn|replay-window/)
})

test('a sender names the state it means, a receiver takes what either has opened', () => {
  assert.is(
    putPolicy(overlay, 'out', 4),
    'xfrm policy update src 10.224.0.4/32 dst 10.224.0.5/32 proto udp dport 8472 dir out priority 2000 tmpl src 10.224.0.4 dst 10.224.0.5 proto esp spi 4 reqid 2 mode tunnel level required',
  )
  assert.not.match(putPolicy(overlay, 'in', 4), /spi/)
})

test('the block policy comes after every other', () => {
  assert.is(
    blockPolicy('src 10.224.0.4/32 dst 0.0.0.0/0 proto udp dport 8472', 'out'),
    'xfrm policy update src 10.224.0.4/32 dst 0.0.0.0/0 proto udp dport 8472 dir out action block priority 4000',
  )
})

test.run()
