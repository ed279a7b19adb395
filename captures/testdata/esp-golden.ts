import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runInVm } from '../../test/vm.ts'
import { Tap } from '../tap.ts'
import { batch, ESP_CASES, type EspLab, espLab, innerRight, LEFT, RIGHT, sendDatagrams } from './esp-lab.ts'

/**
 * `linux-esp.pcapng`: what the kernel's XFRM sends, with every algorithm, and with ESP in VXLAN, VXLAN in ESP, and both. Made by
 * `node --import tsx captures/testdata/esp-golden.ts`, in the VM; the file of keys beside it is made with it.
 */
const HERE = fileURLToPath(new URL('.', import.meta.url))
const INSIDE = '--in-the-vm'
/** Between tunnel ends that are inside VXLAN themselves. */
const NESTED_SPI = 20
const NESTED_KEY = '9f'.repeat(20)
const [OVERLAY_LEFT, OVERLAY_RIGHT] = ['10.9.0.1', '10.9.0.2']

export const payloadOf = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 5 + bytes) & 255)

function record(): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-golden-'))
  const bed = espLab({ after: 0xffff_fff0 })
  const tap = Tap.open({ ns: bed.left, ifindex: bed.leftIndex, directory, file: 'linux-esp.pcapng', nameOf: () => 'left/eth0' })
  try {
    for (const { spi } of ESP_CASES) send(bed, spi, [0, 40, 600])
    send(bed, 3, [4000])
    overlay(bed)
    send(bed, NESTED_SPI, [40])
    batch(bed.left, [
      `xfrm policy add src ${LEFT}/32 dst ${RIGHT}/32 proto udp dport 8472 dir out tmpl src ${LEFT} dst ${RIGHT} proto esp reqid 4 mode tunnel`,
    ])
    send(bed, NESTED_SPI, [40])
    sendDatagrams(bed, [[OVERLAY_RIGHT, payloadOf(41)]])
    tap.close()
    return readFileSync(join(directory, 'linux-esp.pcapng'))
  } finally {
    tap.close()
    bed.close()
    rmSync(directory, { recursive: true })
  }
}

function send(bed: EspLab, spi: number, sizes: readonly number[]): void {
  sendDatagrams(bed, sizes.map(bytes => [innerRight(spi), payloadOf(bytes)]))
}

/** A VXLAN device in clear, and a tunnel that runs through it. */
function overlay({ left }: EspLab): void {
  const mac = '02:00:00:00:09:02'
  batch(left, [
    `link add vx0 type vxlan id 2 local ${LEFT} remote ${RIGHT} dstport 8472 dev left`,
    'link set vx0 up arp off',
    `address add ${OVERLAY_LEFT}/24 dev vx0`,
    `neigh replace ${OVERLAY_RIGHT} lladdr ${mac} dev vx0 nud permanent`,
    `route add ${innerRight(NESTED_SPI)}/32 via ${OVERLAY_RIGHT} dev vx0 src 192.0.2.250`,
    `xfrm state add src ${OVERLAY_LEFT} dst ${OVERLAY_RIGHT} proto esp spi ${NESTED_SPI} reqid ${NESTED_SPI} mode tunnel aead rfc4106(gcm(aes)) 0x${NESTED_KEY} 128`,
    `xfrm policy add src 192.0.2.250/32 dst ${innerRight(NESTED_SPI)}/32 dir out tmpl src ${OVERLAY_LEFT} dst ${OVERLAY_RIGHT} proto esp reqid ${NESTED_SPI} mode tunnel`,
  ])
}

/** The keys of the capture, as a file of ours. */
function keysYaml(): string {
  const lines = ESP_CASES.map(
    ({ name, spi, esn, keys }) =>
      `  - { name: '${name}', spi: ${spi}, src: ${LEFT}, dst: ${RIGHT}, esn: ${esn}, ${keys} }`,
  )
  const nested = `  - { name: inside VXLAN, spi: ${NESTED_SPI}, src: ${OVERLAY_LEFT}, dst: ${OVERLAY_RIGHT}, algorithm: rfc4106(gcm(aes)), key: '${NESTED_KEY}' }`
  return `# Made by captures/testdata/esp-golden.ts: keys of the tests alone.\ncastproof: 1\nsas:\n${[...lines, nested].join('\n')}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === INSIDE) console.log(`@capture ${Buffer.from(record()).toString('base64')}`)
  else {
    const { output, kernel } = await runInVm(['captures/testdata/esp-golden.ts', INSIDE])
    const capture = /^@capture (\S+)\s*$/m.exec(output)?.[1]
    if (capture === undefined) throw new Error(`nothing was recorded on ${kernel}:\n${output}`)
    writeFileSync(join(HERE, 'linux-esp.pcapng'), Buffer.from(capture, 'base64'))
    writeFileSync(join(HERE, 'linux-esp.keys.yaml'), keysYaml())
    console.log(`linux-esp.pcapng: recorded on ${kernel}`)
  }
}
