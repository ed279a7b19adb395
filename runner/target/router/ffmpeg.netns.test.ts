import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { skip } from '../../../test/skip.ts'
import { suite } from '../../../test/suite.ts'
import { router } from '../router.ts'

const test = suite('ffmpeg over target router', { timeoutMs: 120_000 })
const PREFIX = `cp-${process.pid}`
const GROUP = '239.0.0.2'
const ELSEWHERE = '239.0.0.3'
const SAMPLE_RATE_HZ = 8000
const TONE_HZ = 440
const SECONDS = 2
const QUIET = ['-hide_banner', '-nostdin', '-loglevel', 'error']

function sessionOf(group: string): string {
  return `v=0\no=- 0 0 IN IP4 192.168.1.1\ns=tone\nc=IN IP4 ${group}/16\nt=0 0\nm=audio 5004 RTP/AVP 0\n`
}

/** Of decoded 16-bit samples: how often a second the wave rises through zero. */
function toneHz(pcm: Buffer): number {
  const samples = new Int16Array(pcm.buffer, pcm.byteOffset, pcm.length / 2)
  const rises = samples.filter((value, k) => value >= 0 && (samples[k - 1] ?? 0) < 0).length
  return (rises * SAMPLE_RATE_HZ) / samples.length
}

test('the tone that ffmpeg sends by RTP is what ffmpeg plays behind each router, and nobody hears it in another group', async () => {
  const lacking = (await router.probe()).filter(({ ok }) => !ok)
  const ffmpeg = await execa('ffmpeg', ['-version'], { reject: false })
  if (ffmpeg.failed)
    lacking.push({ name: 'ffmpeg', ok: false, found: 'ffmpeg is not there', remedy: '', neededFor: [] })
  for (const { name, found } of lacking) skip(name, found)
  if (lacking.length > 0 || !router.labTopology) return
  const directory = mkdtempSync(join(tmpdir(), 'castproof-ffmpeg-'))
  const site = await router.bringUp(router.labTopology, { faults: [], prefix: PREFIX }, new AbortController().signal)
  const inPod = (pod: string, args: string[]) =>
    execa('ip', ['netns', 'exec', `${PREFIX}-${pod}`, 'ffmpeg', ...QUIET, ...args], { cwd: directory, reject: false })
  const listen = (pod: string, group: string) => {
    writeFileSync(join(directory, `${pod}-${group}.sdp`), sessionOf(group))
    const input = ['-protocol_whitelist', 'file,udp,rtp', '-i', `${pod}-${group}.sdp`]
    return inPod(pod, [...input, '-t', String(SECONDS), '-f', 's16le', `${pod}-${group}.pcm`])
  }
  try {
    const tone = `sine=frequency=${TONE_HZ}:sample_rate=${SAMPLE_RATE_HZ}:duration=60`
    const source = inPod('r1-1', [
      ...['-re', '-f', 'lavfi', '-i', tone, '-acodec', 'pcm_mulaw'],
      ...['-f', 'rtp', `rtp://${GROUP}:5004?ttl=16&pkt_size=172`],
    ])
    const pods = ['r2-1', 'r3-1', 'r4-1']
    const stranger = listen('r2-1', ELSEWHERE)
    const heard = await Promise.all(pods.map(pod => listen(pod, GROUP)))
    for (const item of [source, stranger]) item.kill('SIGKILL')
    await Promise.all([source, stranger])
    for (const [k, pod] of pods.entries()) {
      assert.is(heard[k]?.exitCode, 0, heard[k]?.stderr)
      const pcm = readFileSync(join(directory, `${pod}-${GROUP}.pcm`))
      assert.is(pcm.length, SECONDS * SAMPLE_RATE_HZ * 2)
      assert.ok(Math.abs(toneHz(pcm) - TONE_HZ) < 5, `${pod} hears ${toneHz(pcm)} Hz`)
    }
    const other = await execa('stat', ['-c', '%s', join(directory, `r2-1-${ELSEWHERE}.pcm`)], { reject: false })
    assert.ok(other.failed || other.stdout === '0', other.stdout)
  } finally {
    await site.close()
    rmSync(directory, { recursive: true })
  }
})

test.run()
