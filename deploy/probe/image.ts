/**
 * The probe image as an OCI archive, without Docker and without a registry: this machine's Node and programs with the
 * libraries they are linked to, castproof's compiled files, and nothing else. The Dockerfile beside this makes the same
 * from Debian's packages.
 *
 *   npm run image -- out.tar [name] [programs…]
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HOME = 'opt/castproof'
const DEFAULT_NAME = 'localhost/castproof:dev'
/** `env` is what castproof's first line asks for. */
const PROGRAMS = ['tcpdump', 'socat', 'ip', 'setpriv', 'env', 'tar', 'gzip']
const LOADED_LATER = ['libbpf.so.1']
const FOLDERS = ['/usr/local/bin', '/usr/bin', '/usr/sbin', '/bin', '/sbin']
const LIBRARY_FOLDERS = ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', '/lib/aarch64-linux-gnu', '/lib64']

class Stop extends Error {}

function main([out, name = DEFAULT_NAME, ...more]: string[]): void {
  if (out === undefined) throw new Stop('which file? npm run image -- out.tar [name] [programs…]')
  const work = mkdtempSync(join(tmpdir(), 'castproof-image-'))
  try {
    const root = join(work, 'root')
    fill(root, [...PROGRAMS, ...more])
    const layer = tar(root, ['.'])
    const packed = writeArchive(work, resolve(out), name, layer)
    console.log(`${out}: ${name}, ${megabytes(layer.length)} unpacked, ${megabytes(packed)} as an archive`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function fill(root: string, programs: readonly string[]): void {
  for (const folder of ['usr/bin', 'etc', 'tmp', 'run', HOME]) mkdirSync(join(root, folder), { recursive: true })
  chmodSync(join(root, 'tmp'), 0o1777)
  addProgram(root, process.execPath, 'node')
  for (const program of programs) addProgram(root, find(program, FOLDERS), basename(program))
  for (const library of LOADED_LATER) addLibraries(root, addLibrary(root, find(library, LIBRARY_FOLDERS)))
  // Debian's tcpdump gives up root for this user, and ends where there is none.
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/:/\ntcpdump:x:100:100:tcpdump:/:/\nnobody:x:65534:65534:nobody:/:/\n',
  )
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\ntcpdump:x:100:\nnogroup:x:65534:\n')
  addCastproof(join(root, HOME))
  symlinkSync(`/${HOME}/dist/runner/main.js`, join(root, 'usr/bin/castproof'))
}

/** A path is taken as it is. */
function find(name: string, folders: readonly string[]): string {
  if (name.includes('/')) return name
  const found = folders.map(folder => join(folder, name)).find(path => existsSync(path))
  if (found === undefined) throw new Stop(`${name} is not on this machine: npm run setup`)
  return found
}

function addProgram(root: string, path: string, name: string): void {
  copyFileSync(realpathSync(path), join(root, 'usr/bin', name))
  chmodSync(join(root, 'usr/bin', name), 0o755)
  addLibraries(root, path)
}

/** What the dynamic linker would load, where it would look for it. */
function addLibraries(root: string, path: string): void {
  const text = execFileSync('ldd', [realpathSync(path)], { encoding: 'utf8' })
  for (const [library] of text.matchAll(/\/[^ ]+\.so[^ ]*/g)) addLibrary(root, library)
}

function addLibrary(root: string, path: string): string {
  const target = join(root, path)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(realpathSync(path), target)
  return path
}

function addCastproof(home: string): void {
  const dist = join(ROOT, 'dist')
  if (!existsSync(join(dist, 'runner/main.js'))) throw new Stop('dist/ is not there: npm run build')
  cpSync(dist, join(home, 'dist'), { recursive: true })
  chmodSync(join(home, 'dist/runner/main.js'), 0o755)
  for (const path of ['package.json', 'LICENSE', 'suites', 'bpf/build'])
    cpSync(join(ROOT, path), join(home, path), { recursive: true })
  for (const path of runtimePackages()) cpSync(join(ROOT, path), join(home, path), { recursive: true })
}

/** All that is not for development; cap is a native build that only its own engine needs. */
function runtimePackages(): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true && !['cap', 'nan'].includes(basename(path)))
    .map(([path]) => path)
    .filter(path => existsSync(join(ROOT, path)))
}

/** The same files give the same bytes. */
function tar(folder: string, names: readonly string[]): Buffer {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=ustar']
  return execFileSync('tar', [...same, '-C', folder, '-cf', '-', ...names], { maxBuffer: 2 ** 30 })
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** OCI image layout 1.0.0; both annotations name the image, for containerd and for other tools. */
function writeArchive(work: string, out: string, name: string, layer: Buffer): number {
  const blobs = join(work, 'oci/blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const blob = (bytes: Uint8Array, mediaType: string) => {
    writeFileSync(join(blobs, digest(bytes)), bytes)
    return { mediaType, digest: `sha256:${digest(bytes)}`, size: bytes.length }
  }
  const json = (value: object) => Buffer.from(JSON.stringify(value))
  const oci = 'application/vnd.oci.image'
  const config = blob(json(imageConfig(digest(layer))), `${oci}.config.v1+json`)
  const layers = [blob(gzipSync(layer), `${oci}.layer.v1.tar+gzip`)]
  const manifest = blob(
    json({ schemaVersion: 2, mediaType: `${oci}.manifest.v1+json`, config, layers }),
    `${oci}.manifest.v1+json`,
  )
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name }
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] }
  writeFileSync(join(work, 'oci/index.json'), json(index))
  writeFileSync(join(work, 'oci/oci-layout'), json({ imageLayoutVersion: '1.0.0' }))
  writeFileSync(out, tar(join(work, 'oci'), ['oci-layout', 'index.json', 'blobs']))
  return statSync(out).size
}

function imageConfig(layerDigest: string): object {
  return {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config: {
      // Reading and judging need no rights; a pod that sends or captures says runAsUser 0 and the capabilities it needs.
      User: '65534:65534',
      Env: ['PATH=/usr/bin'],
      Entrypoint: ['/usr/bin/castproof'],
      Cmd: ['--help'],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
  }
}

try {
  main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Stop)) throw error
  console.error(`image: ${error.message}`)
  process.exitCode = 2
}
