import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Trial } from './capability.ts'

const FIRMWARE_LIMIT_MS = 4000

/** A boot sector that writes 0x10 to QEMU's debug-exit port; QEMU then ends with (0x10 << 1) | 1. */
const SECTOR_CODE = Uint8Array.of(0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd)
const SECTOR_EXIT = 33

/** Each boots a guest of seven bytes: a /dev/kvm that is there may still not work. */
export const VM_TRIALS: readonly Trial[] = [
  {
    name: 'qemu',
    neededFor: ['vm'],
    remedy: 'npm run setup in the checkout, or install qemu-system-x86',
    run: () => boot('tcg'),
  },
  {
    name: 'kvm',
    neededFor: ['fast vm'],
    remedy: 'enable virtualisation for this machine; without it the VM is emulated, and slower',
    run: () => boot('kvm'),
  },
  {
    name: 'busybox',
    neededFor: ['vm'],
    remedy: 'npm run setup in the checkout, or install busybox-static',
    run: async () => {
      const { stdout } = await execa('busybox', [], { timeout: FIRMWARE_LIMIT_MS })
      return stdout.split(' ')[1] ?? 'works'
    },
  },
]

async function boot(accelerator: 'tcg' | 'kvm'): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-probe-'))
  try {
    const sector = new Uint8Array(512)
    sector.set(SECTOR_CODE)
    sector.set([0x55, 0xaa], 510)
    const image = join(directory, 'sector')
    writeFileSync(image, sector)
    const result = await execa('qemu-system-x86_64', guest(accelerator, image), {
      timeout: FIRMWARE_LIMIT_MS,
      killSignal: 'SIGKILL',
      reject: false,
    })
    if (result.exitCode === SECTOR_EXIT) return `${accelerator} boots`
    throw new Error(
      result.timedOut ? `the guest did not boot within ${FIRMWARE_LIMIT_MS / 1000} s` : bootFailure(result),
    )
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function guest(accelerator: string, image: string): string[] {
  return [
    ...['-accel', accelerator, '-m', '32', '-display', 'none', '-monitor', 'none', '-serial', 'none', '-net', 'none'],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04', '-drive', `format=raw,snapshot=on,file=${image}`],
  ]
}

function bootFailure(result: { code?: string | undefined; stderr: string; shortMessage?: string | undefined }): string {
  if (result.code === 'ENOENT') return 'not installed'
  return result.stderr.trim().split('\n').at(-1) || (result.shortMessage ?? 'it ended at once')
}
