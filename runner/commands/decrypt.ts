import { existsSync, realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { openCapture } from '../../captures/capture-file.ts'
import { type DecryptSummary, decryptFile } from '../../captures/decrypt-file.ts'
import { LINKTYPE_ETHERNET } from '../../captures/pcapng.ts'
import { writablePath } from '../by-hand.ts'
import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { readKeysFile } from '../ipsec/keys-file.ts'
import { UserError } from '../suite/errors.ts'
import type { DecryptOptions } from './options.ts'

/** Passes only when there was ESP and every packet of it opened: a script must not take silence for proof. */
export async function decryptCommand(options: DecryptOptions, io: Io): Promise<number> {
  const input = readableCapture(resolve(io.cwd, options.capture), options.capture)
  const keys = readKeysFile(resolve(io.cwd, options.keys), options.keys)
  const output = writablePath(options.output, io.cwd)
  if (realpathSync(output) === realpathSync(input))
    throw new UserError('same-file', `${options.output} is the capture itself`, { hint: '-o another file' })
  const summary = decryptFile(input, output, keys)
  if (options.json) printLine(io, JSON.stringify(summary, undefined, 2))
  else for (const line of textOf(summary, options)) printLine(io, line)
  return summary.esp > 0 && summary.closed.length === 0 && !summary.problem ? EXIT.passed : EXIT.notJudged
}

/** Ethernet, in a format that is known: anything else is found before something is written. */
function readableCapture(path: string, shown: string): string {
  if (!existsSync(path)) throw new UserError('no-such-file', `there is no file ${shown}`)
  if (!statSync(path).isFile()) throw new UserError('not-a-file', `${shown} is not a regular file`)
  const capture = openCapture(path)
  try {
    capture.read(() => {})
    if (capture.format === 'unknown')
      throw new UserError('not-a-capture', `${shown}: ${capture.problem?.why ?? 'unknown format'}`)
    const other = capture.interfaces.find(({ linkType }) => linkType !== LINKTYPE_ETHERNET)
    if (other)
      throw new UserError('link-type', `${shown} holds link type ${other.linkType}, this reads Ethernet (1)`, {
        hint: 'capture on one interface instead of any: tcpdump -i eth0 -w',
      })
    return path
  } finally {
    capture.close()
  }
}

const SHOWN_REASONS = 12

function textOf(summary: DecryptSummary, { capture, output }: DecryptOptions): string[] {
  const { frames, written, esp, opened, joined, sas, closed, problem } = summary
  const fragments = joined === 0 ? '' : `, ${joined} fragments joined`
  const more = closed.slice(SHOWN_REASONS).reduce((sum, { packets }) => sum + packets, 0)
  return [
    `${capture}: ${frames} frames, ${esp} ESP packets, ${opened} opened${fragments}`,
    ...sas.map(
      ({ src, dst, spi, key, packets, lowestSequence, highestSequence }) =>
        `  ${src} > ${dst} SPI ${spi}: ${packets} opened, sequence ${lowestSequence} to ${highestSequence} (${key})`,
    ),
    ...closed.slice(0, SHOWN_REASONS).map(({ why, packets }) => `  ${packets} not opened: ${why}`),
    ...(more > 0 ? [`  ${more} not opened for other reasons: --json lists them`] : []),
    ...(esp === 0 ? ['  there is no ESP in it: nothing was shown'] : []),
    ...(problem ? [`  reading ended at byte ${problem.at}: ${problem.why}`] : []),
    `${output}: ${written} frames`,
  ]
}
