import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { UserError } from '../suite/errors.ts'
import { Unsupported } from '../unsupported.ts'
import { cached } from './cache.ts'
import { INITRAMFS, writeInitramfs } from './initramfs.ts'
import { unpackKernel } from './vmlinux.ts'

/** Debian's kernels by what `--kernel` calls them: the suite whose `linux-image-amd64` they are. */
const SUITES: Readonly<Record<string, string>> = {
  '5.10': 'bullseye',
  '6.1': 'bookworm',
  '6.12': 'bookworm-backports',
}
const KERNELS: readonly string[] = Object.keys(SUITES)
const DEFAULT_KERNEL = '6.1'

const META_PACKAGE = 'linux-image-amd64'
const MIRROR = 'http://deb.debian.org/debian'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const DOWNLOAD_LIMIT_MS = 300_000

/** A kernel with its modules, ready to boot. */
export interface Kernel {
  /** As `--kernel` names it. */
  name: string
  /** As `uname -r` says. */
  release: string
  image: string
  initramfs: string
  /** `/lib/modules/<release>` of the package. */
  modules: string
}

/** The kernel package unpacked in the cache: fetched once, from Debian, by the machine's apt but not into its package lists. */
export async function kernelNamed(
  name: string = DEFAULT_KERNEL,
  say: (line: string) => void = () => {},
): Promise<Kernel> {
  const suite = suiteOf(name)
  const folder = await cached(join('kernel', name), async fresh => {
    say(`fetching kernel ${name} from Debian ${suite}, once`)
    await download(name, suite, fresh)
    await execa('depmod', ['-b', fresh, releaseIn(fresh)])
    await unpackKernel(kernelIn(fresh).image)
  })
  const kernel = { name, ...kernelIn(folder) }
  if (!existsSync(kernel.initramfs)) await writeInitramfs(folder, kernel.release, kernel.initramfs)
  return kernel
}

/** Refuses what `--kernel` cannot mean, before anything runs. */
export function requireKernelName({ kernel, sandbox }: { kernel?: string; sandbox: string }): void {
  if (kernel === undefined) return
  suiteOf(kernel)
  if (sandbox !== 'host') return
  const hint = 'leave one of the two out'
  throw new UserError('kernel-of-host', '--sandbox host uses the kernel that is here, --kernel names another', { hint })
}

/** The Debian suite of the kernel; UserError when there is none of that name. */
function suiteOf(name: string): string {
  const suite = SUITES[name]
  if (suite !== undefined) return suite
  throw new UserError('unknown-kernel', `no kernel is called ${name}`, { hint: `there are ${KERNELS.join(', ')}` })
}

function kernelIn(folder: string): Omit<Kernel, 'name'> {
  const release = releaseIn(folder)
  return {
    release,
    image: join(folder, 'boot', `vmlinuz-${release}`),
    initramfs: join(folder, INITRAMFS),
    modules: join(folder, 'lib', 'modules', release),
  }
}

function releaseIn(folder: string): string {
  const release = readdirSync(join(folder, 'lib', 'modules'))[0]
  if (release === undefined) throw new Error(`${folder} holds no kernel`)
  return release
}

async function download(name: string, suite: string, folder: string): Promise<void> {
  const apt = join(folder, 'apt')
  const options = await privateApt(apt, suite)
  const words = (...more: string[]): [string[], object] => [
    [...options, ...more],
    { cwd: folder, timeout: DOWNLOAD_LIMIT_MS },
  ]
  try {
    await execa('apt-get', ...words('update'))
    const { stdout } = await execa('apt-cache', ...words('depends', META_PACKAGE))
    const packageName = /Depends: (linux-image-\S+)/.exec(stdout)?.[1]
    if (packageName === undefined) throw new Error(`${META_PACKAGE} depends on no kernel`)
    await execa('apt-get', ...words('download', packageName))
  } catch (error) {
    throw unreachable(name, suite, error)
  }
  const archive = readdirSync(folder).find(file => file.endsWith('.deb')) ?? ''
  await execa('dpkg', ['-x', archive, '.'], { cwd: folder })
  for (const done of [archive, 'apt', 'usr']) rmSync(join(folder, done), { recursive: true, force: true })
}

/** Lists and sources of its own: the machine's are neither read nor changed. Its configuration, with proxies, holds. */
async function privateApt(folder: string, suite: string): Promise<string[]> {
  for (const made of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(folder, made), { recursive: true })
  const signed = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : ''
  writeFileSync(join(folder, 'sources'), `deb ${signed}${await mirror()} ${suite} main\n`)
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::sourcelist': join(folder, 'sources'),
    'Dir::Etc::sourceparts': '-',
    'APT::Architecture': 'amd64',
    // The user `_apt` may not be let into the cache.
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
    'Acquire::Retries': '1',
    'Acquire::http::Timeout': '20',
  }
  return ['-q', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])]
}

/** The mirror that this machine has chosen, if it is a Debian. */
async function mirror(): Promise<string> {
  const format = '$(ORIGIN) $(LABEL) $(SITE)'
  const { stdout } = await execa('apt-get', ['indextargets', '--format', format], { reject: false })
  const line = (stdout ?? '').split('\n').find(one => one.startsWith('Debian Debian '))
  return line?.split(' ')[2] ?? MIRROR
}

function unreachable(name: string, suite: string, error: unknown): unknown {
  const text = String((error as { stderr?: unknown }).stderr || (error instanceof Error ? error.message : error))
  // Said by `cached`, with its remedy.
  if (/No space left|enough free space/i.test(text)) return error
  const reason = /^E: .*/m.exec(text)?.[0] ?? text.trim().split('\n')[0]
  return new Unsupported({
    feature: `kernel ${name}`,
    needs: `the package ${META_PACKAGE} of Debian ${suite}, once`,
    found: `it cannot be fetched: ${reason}`,
    remedy: 'run it once where a Debian mirror can be reached, or use --sandbox host',
  })
}
