import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { temporaryFolders } from '../../test/temporary.ts'

const test = suite('probe image', { timeoutMs: 180_000 })
const temporaryFolder = temporaryFolders(test)

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Descriptor {
  mediaType: string
  digest: string
  size: number
  annotations?: Record<string, string>
}

test('is an OCI archive whose every digest is right, and castproof runs in it as nobody, without a shell', async () => {
  const work = temporaryFolder('image-')
  const out = join(work, 'image.tar')
  await execa('npm', ['run', '-s', 'image', '--', out, 'localhost/x:1'], { cwd: ROOT })
  const [oci, root] = [join(work, 'oci'), join(work, 'root')]
  for (const folder of [oci, root]) mkdirSync(folder)
  await execa('tar', ['-xf', out, '-C', oci])
  const blob = ({ digest, size }: Descriptor): Buffer => {
    const bytes = readFileSync(join(oci, 'blobs/sha256', digest.replace('sha256:', '')))
    assert.is(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest)
    assert.is(bytes.length, size)
    return bytes
  }
  const index = JSON.parse(readFileSync(join(oci, 'index.json'), 'utf8')) as { manifests: Descriptor[] }
  const [listed] = index.manifests
  assert.ok(listed)
  assert.is(listed.annotations?.['org.opencontainers.image.ref.name'], 'localhost/x:1')
  const manifest = JSON.parse(String(blob(listed))) as { config: Descriptor; layers: Descriptor[] }
  const config = JSON.parse(String(blob(manifest.config))) as { config: { User: string; Entrypoint: string[] } }
  assert.is(config.config.User, '65534:65534')
  for (const layer of manifest.layers) await execa('tar', ['-xz', '-C', root], { input: blob(layer) })
  const inside = async (...words: string[]) =>
    (
      await execa('/usr/sbin/chroot', ['--userspec=65534:65534', root, ...words], {
        env: { PATH: '/usr/bin' },
        extendEnv: false,
      })
    ).stdout
  const [entry = ''] = config.config.Entrypoint
  assert.match(await inside(entry, '--version'), /^\d+\.\d+\.\d+$/)
  assert.match(await inside(entry, 'list'), /\d+ suites, \d+ cases/)
  assert.match(await inside('ip', '-V'), 'iproute2')
  const shells = await execa('find', [root, '-name', 'sh', '-o', '-name', 'bash'])
  assert.is(shells.stdout, '')
})

test.run()
