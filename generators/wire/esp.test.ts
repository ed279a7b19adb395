import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { ESP_NEXT_HEADER, espPadLength, readEspTrailer } from './esp.ts'
import { cbcHmacCipher, type EspCipher, gcmCipher, HMAC_ICV_BITS, type HmacName } from './esp-cipher.ts'
import { openEsp, sealEsp } from './esp-seal.ts'

const test = suite('ESP')

const octets = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => from + i)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const K = octets(0, 32)
const A = octets(64, 64)
const gcm = (keyBytes: number, icvBits = 128) =>
  gcmCipher(Buffer.concat([K.subarray(0, keyBytes), Buffer.from('salt')]), icvBits)
const INNER = '4500002800010000401185ce0af40005e9fc0001138813890014000068656c6c6f2c2067726f7570'
const SEQUENCE = 0xffff_fffe

// Written by scapy 2.5 with python3-cryptography: SecurityAssociation(ESP, spi=3, tunnel_header=…).encrypt(inner, seq_num=0xfffffffe,
// iv=a0 a1 a2 …). Its HMACs do not know extended numbers and its GCM knows one ICV length: for those the kernel is the witness
// (captures/esp-kernel.vm.test.ts).
const SCAPY: [name: string, cipher: EspCipher, esn: boolean, packet: string][] = [
  [
    'AES-128-GCM',
    gcm(16),
    false,
    'a0a1a2a3a4a5a6a7c77955b16a3602ab3e8b303662b7f272a0f16f68a5a8833100d1d3e8cd1201e6adc63647f4c844a034610a2ddbf5b1bb0e3233e3d853e501eb7dba34',
  ],
  [
    'AES-128-GCM, ESN',
    gcm(16),
    true,
    'a0a1a2a3a4a5a6a7c77955b16a3602ab3e8b303662b7f272a0f16f68a5a8833100d1d3e8cd1201e6adc63647f4c844a034610a2d2fdab7cf02c4c84ff96ca42cd92e468d',
  ],
  [
    'AES-192-GCM',
    gcm(24),
    false,
    'a0a1a2a3a4a5a6a74a21904ce4700af1df518f93067bde19a4a16a55f79e681e601436b7bc05a1ae5a07f0ca0d03b5074b94e34fb715e137b1d602003c36edbd71f16ef4',
  ],
  [
    'AES-256-GCM',
    gcm(32),
    false,
    'a0a1a2a3a4a5a6a7d85c2cac56e5830e7d1bb88ad44311e78b7ef0edb144d1d9aa07bfdd32116994f7e2e273e4c52570bcd00af891741db0da73e1151c3659dc9718e7f8',
  ],
  [
    'AES-256-GCM, ESN',
    gcm(32),
    true,
    'a0a1a2a3a4a5a6a7d85c2cac56e5830e7d1bb88ad44311e78b7ef0edb144d1d9aa07bfdd32116994f7e2e273e4c52570bcd00af85d72bb9a550f721f09a8b17c0a22fa76',
  ],
  [
    'AES-128-CBC, HMAC-SHA1-96',
    cbcHmacCipher(K.subarray(0, 16), 'hmac(sha1)', A.subarray(0, 20)),
    false,
    'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf5ac95e4d7369f87d2ea292022a4069c6c9129944739853c71c0510f57b0e3c813acf377d0c52c71c613fc7262ca254e8ce93a934f5419f3b1380ec58',
  ],
  [
    'AES-256-CBC, HMAC-SHA2-256-128',
    cbcHmacCipher(K, 'hmac(sha256)', A.subarray(0, 32), 128),
    false,
    'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf06fb7593ba8d3bf4abfa662cef6038ed43855d0a61be2c1e7dc1c5eae6b23274bbb64a29e99ceb784c04ca6ffc4f00a5764957f17f56b1185ac489f23928a2ca',
  ],
  [
    'AES-128-CBC, HMAC-SHA2-384-192',
    cbcHmacCipher(K.subarray(0, 16), 'hmac(sha384)', A.subarray(0, 48)),
    false,
    'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf5ac95e4d7369f87d2ea292022a4069c6c9129944739853c71c0510f57b0e3c813acf377d0c52c71c613fc7262ca254e8a16c5b17debccb78f80924d7c87199a47a6dd6fc11d21832',
  ],
  [
    'AES-128-CBC, HMAC-SHA2-512-256',
    cbcHmacCipher(K.subarray(0, 16), 'hmac(sha512)', A),
    false,
    'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf5ac95e4d7369f87d2ea292022a4069c6c9129944739853c71c0510f57b0e3c813acf377d0c52c71c613fc7262ca254e85aa7fc141b023d65ad037ebf37a76da2a572debdc63744ff1488ffc7dccb057f',
  ],
]

for (const [name, cipher, esn, rest] of SCAPY) {
  const packet = Buffer.from(`00000003fffffffe${rest}`, 'hex')

  test(`${name}: sealed as scapy seals`, () => {
    const iv = octets(0xa0, cipher.ivBytes)
    const content = { payload: Buffer.from(INNER, 'hex'), sequence: SEQUENCE, sequenceHigh: 1, iv }
    assert.is(hex(sealEsp({ spi: 3, cipher, esn }, content)), hex(packet))
  })

  test(`${name}: opens what scapy sealed`, () => {
    const opened = openEsp({ spi: 3, cipher, esn }, packet, 0, packet.length, 1)
    assert.ok('payload' in opened, JSON.stringify(opened))
    assert.is(hex(opened.payload), INNER)
    assert.is(opened.nextHeader, ESP_NEXT_HEADER.IPV4)
  })
}

const HMACS = Object.keys(HMAC_ICV_BITS) as HmacName[]
const CIPHERS: EspCipher[] = [
  ...[16, 24, 32].flatMap(bytes => [64, 96, 128].map(icv => gcm(bytes, icv))),
  ...HMACS.flatMap(hmac => HMAC_ICV_BITS[hmac].map(icv => cbcHmacCipher(K, hmac, A.subarray(0, 32), icv))),
]

test('every algorithm opens what it sealed, at any offset, and nothing that was altered', () => {
  for (const cipher of CIPHERS) {
    for (const esn of [false, true]) {
      const sa = { spi: 7, cipher, esn }
      for (const payloadBytes of [0, 1, 13, 14, 15, 16, 1400]) {
        const payload = octets(1, payloadBytes)
        const packet = sealEsp(sa, { payload, sequence: 5 })
        const frame = Buffer.concat([new Uint8Array(3).fill(0xa5), packet, new Uint8Array(9).fill(0xa5)])
        const opened = openEsp(sa, frame, 3, 3 + packet.length)
        assert.ok('payload' in opened)
        assert.is(hex(opened.payload), hex(payload))
        assert.is(opened.padLength, espPadLength(payloadBytes, cipher.blockBytes))
        for (const at of [4, 8, packet.length - 1]) {
          const altered = frame.slice()
          altered[3 + at]! ^= 1
          assert.match((openEsp(sa, altered, 3, 3 + packet.length) as { wrong: string }).wrong, /^wrong ICV/)
        }
      }
    }
  }
})

test('the high half of an extended number is in the ICV, and in nothing else', () => {
  for (const cipher of CIPHERS) {
    const packet = sealEsp({ spi: 1, cipher, esn: true }, { payload: octets(0, 20), sequence: 1, sequenceHigh: 2 })
    assert.ok('payload' in openEsp({ spi: 1, cipher, esn: true }, packet, 0, packet.length, 2))
    for (const [esn, high] of [
      [true, 1],
      [false, 2],
    ] as const) {
      assert.match(
        (openEsp({ spi: 1, cipher, esn }, packet, 0, packet.length, high) as { wrong: string }).wrong,
        /^wrong ICV/,
      )
    }
  }
})

test('an IV never comes twice in one direction', () => {
  for (const cipher of [gcm(16), cbcHmacCipher(K, 'hmac(sha1)', A)]) {
    const ivs = [
      [1, 0],
      [2, 0],
      [1, 1],
      [0xffff_ffff, 0],
    ].map(([low = 0, high = 0]) => hex(cipher.ivFor(low, high)))
    assert.is(new Set(ivs).size, ivs.length)
    assert.is(ivs[0]?.length, cipher.ivBytes * 2)
  }
})

test('any bytes are named, never thrown on', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(CIPHERS.length - 1), fc.boolean(), (bytes, i, esn) => {
      const opened = openEsp({ spi: 1, cipher: CIPHERS[i]!, esn }, bytes, 0, bytes.length)
      assert.ok('wrong' in opened && opened.wrong !== '')
    }),
    { numRuns: 2000 },
  )
})

test('padding and trailer that no sender makes are named', () => {
  const sa = { spi: 1, cipher: gcm(16), esn: false }
  const wrong = (content: { padding?: Uint8Array; payload?: Uint8Array }) => {
    const packet = sealEsp(sa, { payload: octets(0, 4), sequence: 1, ...content })
    return (openEsp(sa, packet, 0, packet.length) as { wrong: string }).wrong
  }
  assert.is(wrong({ padding: Uint8Array.of(1, 3) }), 'padding does not count 1, 2, 3')
  assert.is(
    (readEspTrailer(Uint8Array.of(0, 0, 9, 4)) as { why: string }).why,
    'Pad Length 9 is more than the 2 octets before it',
  )
  assert.is((readEspTrailer(Uint8Array.of(4)) as { why: string }).why, 'no room for Pad Length and Next Header')
  const traffic = sealEsp(sa, { payload: octets(0, 6), sequence: 1, padding: octets(1, 252) })
  const opened = openEsp(sa, traffic, 0, traffic.length)
  assert.is('padLength' in opened && opened.padLength, 252)
})

test('cut and ragged packets are named', () => {
  const packet = sealEsp({ spi: 1, cipher: gcm(16), esn: false }, { payload: octets(0, 20), sequence: 1 })
  const why = (bytes: number, cipher = gcm(16)) =>
    (openEsp({ spi: 1, cipher, esn: false }, packet, 0, bytes) as { wrong: string }).wrong
  assert.is(why(33), 'cut short: 33 octets')
  assert.is(why(37), 'ciphertext of 5 octets is not whole blocks')
  assert.is(why(36), 'wrong ICV: another key, or altered on the way')
  assert.match(why(packet.length, cbcHmacCipher(K, 'hmac(sha1)', A)), /is not whole blocks/)
})

test('wrong lengths of keys and ICVs are refused by number, without the key', () => {
  const key = Buffer.from('SECRETSECRETSECRET')
  const refusal = (make: () => unknown) => {
    try {
      make()
    } catch (error) {
      assert.instance(error, RangeError)
      return String(error)
    }
    return 'accepted'
  }
  const refusals = [
    refusal(() => gcmCipher(key)),
    refusal(() => gcmCipher(K.subarray(0, 20), 100)),
    refusal(() => cbcHmacCipher(key, 'hmac(sha1)', A)),
    refusal(() => cbcHmacCipher(K, 'hmac(sha1)', A, 128)),
    refusal(() => cbcHmacCipher(K, 'hmac(sha1)', new Uint8Array(0))),
  ]
  assert.equal(refusals, [
    'RangeError: rfc4106(gcm(aes)) takes 20, 28 or 36 octets (AES key and 4 of salt), not 18',
    'RangeError: rfc4106(gcm(aes)) has an ICV of 64, 96 or 128 bits, not 100',
    'RangeError: cbc(aes) takes 16, 24 or 32 octets, not 18',
    'RangeError: hmac(sha1) has an ICV of 96 bits, not 128',
    'RangeError: hmac(sha1) takes a key of at least one octet',
  ])
})

test('a cipher printed, serialised or inspected is its name, not its key', async () => {
  const { inspect } = await import('node:util')
  for (const cipher of [gcm(16), cbcHmacCipher(K, 'hmac(sha256)', A)]) {
    const texts = [inspect(cipher, { depth: 9, showHidden: true }), JSON.stringify(cipher)].join(' ')
    for (const part of [K.subarray(0, 4), A.subarray(0, 4)]) {
      assert.not.match(texts, new RegExp(hex(part)))
      assert.not.match(texts, new RegExp([...part].join('[, ]+')))
    }
  }
})

test.run()
