import { createHash } from 'node:crypto'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'

/** What the guest needs before it can see this machine's files; the rest the kernel loads by name. */
const EARLY_MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay', 'qemu_fw_cfg']
/** What boot.ts hands over by QEMU's firmware configuration: a script that finishes the root, one that is the program. */
export const FW_CFG = { root: 'opt/castproof/root', program: 'opt/castproof/program' } as const
/** Said after the last byte of the program's output, with its exit code. */
export const END_MARK = '\0castproof-exit '
const PRINTED_MARK = END_MARK.replace('\0', '\\0')

/**
 * The root is this machine's, read only, under a layer in memory that takes what is written. `/run` starts empty: it
 * holds sockets and namespaces of a kernel that is not this one.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
given() { cat /sys/firmware/qemu_fw_cfg/by_name/$1/raw; }
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host
mount -t tmpfs written /written; mkdir /written/upper /written/work
mount -t overlay -o lowerdir=/host,upperdir=/written/upper,workdir=/written/work root /root
mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm; mount -t devpts devpts /dev/pts
mount --rbind /proc /root/proc; mount --rbind /sys /root/sys; mount --rbind /dev /root/dev
mount -t bpf bpf /root/sys/fs/bpf; mount -t tracefs tracing /root/sys/kernel/tracing; mount -t cgroup2 cgroup /root/sys/fs/cgroup
mount -t tmpfs run /root/run; mkdir /root/run/netns
ip link set lo up
printf '#!/bin/sh\\nexec chroot /root /sbin/modprobe "$@"\\n' > /modprobe; chmod +x /modprobe
echo /modprobe > /proc/sys/kernel/modprobe
given ${FW_CFG.root} > /finish; . /finish
given ${FW_CFG.program} > /root/run/program
exec 5<>/dev/vport0p1 6<>/dev/vport0p2 7<>/dev/vport0p3
mkfifo /input; cat <&5 >/input &
chroot /root /bin/sh /run/program </input >&5 2>&6 5>&- 6>&- 7>&- &
program=$!
while read -r name <&7; do kill -$name $program; done &
wait $program; code=$?
printf '${PRINTED_MARK}%d\\n' $code >&5; printf '${PRINTED_MARK}%d\\n' $code >&6
sleep 10; poweroff -f
`

/** Its name has the hash of what is in it: a newer castproof makes its own. */
export const INITRAMFS = `initramfs-${createHash('sha256').update(INIT).update(EARLY_MODULES.join()).digest('hex').slice(0, 12)}`

/** A static busybox, the early modules of the package in `folder` in the order in which they load, and the script above. */
export async function writeInitramfs(folder: string, release: string, path: string): Promise<void> {
  const root = mkdtempSync(join(folder, 'root-'))
  try {
    for (const made of ['bin', 'proc', 'sys', 'dev', 'host', 'written', 'root', 'modules']) mkdirSync(join(root, made))
    cpSync('/usr/bin/busybox', join(root, 'bin', 'busybox'))
    for (const [i, file] of (await moduleFiles(folder, release)).entries())
      cpSync(file, join(root, 'modules', `${String(i).padStart(2, '0')}.ko`))
    writeFileSync(join(root, 'init'), INIT)
    chmodSync(join(root, 'init'), 0o755)
    const names = await execa('find', ['.'], { cwd: root })
    const archive = execa('busybox', ['cpio', '-o', '-H', 'newc'], {
      cwd: root,
      input: names.stdout,
      encoding: 'buffer',
    })
    writeFileSync(`${root}.cpio`, (await archive).stdout)
    renameSync(`${root}.cpio`, path)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function moduleFiles(folder: string, release: string): Promise<string[]> {
  const words = ['-d', folder, '-S', release, '--show-depends']
  const lists = await Promise.all(EARLY_MODULES.map(name => execa('modprobe', [...words, name])))
  const files = lists.flatMap(({ stdout }) => [...stdout.matchAll(/^insmod (\S+)/gm)].map(match => match[1] ?? ''))
  return [...new Set(files)]
}
