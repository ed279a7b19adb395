import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const CACHE = join(CHECKOUT, '.cache', 'kernel')
/** What tsx has compiled: without it the guest compiles everything anew, in emulation. */
const TSX_CACHE = `tsx-${process.geteuid?.() ?? 0}`
/** What the guest needs before it can see this machine's files; the rest it loads by name. */
const EARLY_MODULES = ['virtio_pci', '9pnet_virtio', '9p']
const META_PACKAGE = 'linux-image-amd64'

export interface VmResult {
  exitCode: number
  output: string
  /** As `uname -r` of the guest. */
  kernel: string
}

/**
 * Runs a command of this checkout under the distribution's kernel, in an emulated machine whose root is this machine's,
 * read only, with empty /tmp and /run. The kernel package is fetched once, into `.cache/`.
 */
export async function runInVm(argv: readonly string[], timeoutMs = 300_000): Promise<VmResult> {
  const kernel = await cachedKernel()
  const work = mkdtempSync(join(tmpdir(), 'castproof-vm-'))
  try {
    const initramfs = await buildInitramfs(work, kernel, argv)
    const results = join(work, 'results')
    const boot = await execa(
      'qemu-system-x86_64',
      [
        ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048', '-nodefaults', '-display', 'none'],
        ['-no-reboot', '-kernel', kernel.image, '-initrd', initramfs],
        ['-append', 'console=ttyS0 quiet panic=-1 net.ifnames=0'],
        ['-serial', `file:${join(work, 'console')}`, '-serial', `file:${results}`],
        ['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
      ].flat(),
      { timeout: timeoutMs, reject: false },
    )
    return await readResults(results, join(work, 'console'), kernel.version, boot.timedOut ? timeoutMs : undefined)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

interface Kernel {
  version: string
  image: string
  /** The package unpacked: `lib/modules/<version>` is below. */
  root: string
}

/** The package that the metapackage stands for, unpacked; made under another name first, so that half of one is never used. */
async function cachedKernel(): Promise<Kernel> {
  const known = existsSync(CACHE) ? readdirSync(CACHE).find(name => name.startsWith('linux-image-')) : undefined
  if (known !== undefined) return kernelIn(join(CACHE, known))
  mkdirSync(CACHE, { recursive: true })
  const { stdout } = await execa('apt-cache', ['depends', META_PACKAGE])
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1]
  if (name === undefined) throw new Error(`${META_PACKAGE} depends on no kernel: run apt-get update`)
  const fresh = mkdtempSync(join(CACHE, 'fresh-'))
  await execa('apt-get', ['download', name], { cwd: fresh })
  const archive = readdirSync(fresh).find(file => file.endsWith('.deb'))
  if (archive === undefined) throw new Error(`apt-get has not downloaded ${name}`)
  await execa('dpkg', ['-x', archive, '.'], { cwd: fresh })
  rmSync(join(fresh, archive))
  await execa('depmod', ['-b', fresh, kernelIn(fresh).version])
  renameSync(fresh, join(CACHE, name))
  return kernelIn(join(CACHE, name))
}

function kernelIn(root: string): Kernel {
  const version = readdirSync(join(root, 'lib', 'modules'))[0]
  if (version === undefined) throw new Error(`${root} holds no kernel`)
  return { version, image: join(root, 'boot', `vmlinuz-${version}`), root }
}

async function buildInitramfs(work: string, kernel: Kernel, argv: readonly string[]): Promise<string> {
  const root = join(work, 'root')
  for (const directory of ['bin', 'proc', 'sys', 'dev', 'host', 'modules', 'checkout', 'tsx'])
    mkdirSync(join(root, directory), { recursive: true })
  cpSync('/usr/bin/busybox', join(root, 'bin', 'busybox'))
  const files = await moduleFiles(kernel)
  for (const [i, file] of files.entries()) cpSync(file, join(root, 'modules', `${i}.ko`))
  writeFileSync(join(root, 'command'), `#!/bin/sh\ncd ${quoted(CHECKOUT)}\nexec ${argv.map(quoted).join(' ')}\n`)
  writeFileSync(join(root, 'init'), initScript(kernel, files.length))
  chmodSync(join(root, 'init'), 0o755)
  const image = join(work, 'initramfs')
  // busybox's cpio, so that nothing more needs to be installed.
  await execa('sh', ['-c', `find . | busybox cpio -o -H newc > ${quoted(image)}`], { cwd: root })
  return image
}

async function moduleFiles(kernel: Kernel): Promise<string[]> {
  const args = ['-d', kernel.root, '-S', kernel.version, '--show-depends']
  const lists = await Promise.all(EARLY_MODULES.map(name => execa('modprobe', [...args, name])))
  const files = lists.flatMap(({ stdout }) => [...stdout.matchAll(/^insmod (\S+)/gm)].map(match => match[1] ?? ''))
  return [...new Set(files)]
}

function initScript(kernel: Kernel, modules: number): string {
  const inHost = (path: string) => `/host${path}`
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
i=0; while [ $i -lt ${modules} ]; do insmod /modules/$i.ko; i=$((i+1)); done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host
mount --bind ${inHost(CHECKOUT)} /checkout; mount --bind ${inHost(tsxCache())} /tsx
mount -t tmpfs tmp ${inHost('/tmp')}; mount -t tmpfs run ${inHost('/run')}; mkdir -p ${inHost('/run/netns')} /dev/shm
# A checkout may lie below what is now empty.
mkdir -p ${inHost(CHECKOUT)} ${inHost(`/tmp/${TSX_CACHE}`)}
mount --bind /checkout ${inHost(CHECKOUT)}; mount --bind /tsx ${inHost(`/tmp/${TSX_CACHE}`)}
mount --bind /proc ${inHost('/proc')}; mount --bind /dev ${inHost('/dev')}; mount --bind /sys ${inHost('/sys')}
mount -t bpf bpf ${inHost('/sys/fs/bpf')}
ip link set lo up
cp /command ${inHost('/run/command')}
# The kernel itself asks for modules by name, from outside of the chroot; by path, or busybox takes its own modprobe.
printf '#!/bin/sh\\nexec chroot /host /sbin/modprobe -d ${kernel.root} "$@"\\n' > /bin/load; chmod 755 /bin/load; echo /bin/load > /proc/sys/kernel/modprobe
stty -F /dev/ttyS1 raw -echo
chroot /host /bin/sh /run/command > /dev/ttyS1 2>&1
echo "@exit $?" > /dev/ttyS1
poweroff -f
`
}

/** The test runner puts a link in its place. */
function tsxCache(): string {
  const path = join(tmpdir(), TSX_CACHE)
  return existsSync(path) ? realpathSync(path) : path
}

async function readResults(
  results: string,
  consoleLog: string,
  kernel: string,
  timedOutMs: number | undefined,
): Promise<VmResult> {
  const text = (await execa('cat', [results], { reject: false })).stdout
  const exit = /^@exit (\d+)$/m.exec(text)
  if (!exit) {
    const log = (await execa('tail', ['-c', '2000', consoleLog], { reject: false })).stdout
    const why = timedOutMs === undefined ? 'ended without a result' : `was not done after ${timedOutMs} ms`
    throw new Error(`the virtual machine ${why}\n${text.slice(-2000)}\n${log}`)
  }
  return { exitCode: Number(exit[1]), output: text.slice(0, exit.index), kernel }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
