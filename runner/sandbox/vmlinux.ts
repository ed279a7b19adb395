import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { execa } from 'execa'

/** How a bzImage may be packed: the first bytes of the packed kernel, and what unpacks it. */
const PACKINGS: readonly { magic: Buffer; unpack: readonly [string, ...string[]] }[] = [
  { magic: Buffer.from('fd377a585a00', 'hex'), unpack: ['xz', '-dc'] },
  { magic: Buffer.from('28b52ffd', 'hex'), unpack: ['zstd', '-dcq'] },
]
const ELF = Buffer.from('\x7fELF', 'latin1')
const MAX_KERNEL_BYTES = 512 * 1024 * 1024

/**
 * Puts the kernel inside a bzImage in its place, where that can be had: QEMU boots it by its PVH entry, and the guest need
 * not unpack it in emulation, which is half of its start-up. Otherwise the image stays as it is, and boots as well.
 */
export async function unpackKernel(image: string): Promise<void> {
  const packed = readFileSync(image)
  for (const { magic, unpack } of PACKINGS) {
    for (let at = packed.indexOf(magic); at >= 0; at = packed.indexOf(magic, at + 1)) {
      const kernel = await unpacked(packed.subarray(at), unpack)
      if (!kernel.subarray(0, ELF.length).equals(ELF)) continue
      writeFileSync(`${image}.elf`, kernel)
      return renameSync(`${image}.elf`, image)
    }
  }
}

/** The unpackers complain of what follows the kernel, having written it. */
async function unpacked(input: Uint8Array, [program, ...words]: readonly [string, ...string[]]): Promise<Buffer> {
  const options = { input, encoding: 'buffer', reject: false, maxBuffer: MAX_KERNEL_BYTES } as const
  const { stdout } = await execa(program, words, options)
  return Buffer.from(stdout ?? [])
}
