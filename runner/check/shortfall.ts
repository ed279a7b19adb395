import type { PodSite, Seen, Sent, SentStream } from './check.ts'
import type { Finding } from './findings.ts'
import { pathTaps, podOf, tapFault } from './places.ts'
import { type Closure, controlState } from './proof.ts'
import { lossesOn, lossText } from './witness.ts'

/** What is wrong at a place, before it is known who is to blame. */
export interface Trouble {
  message: string
  missing: number
  /** A frame that should not be, or not like this: the frame itself is the proof. */
  positive: boolean
  finding: Omit<Finding, 'status' | 'message'>
}

/**
 * Turns a departure into a verdict (ARCHITECTURE section 3, who lost it): a copy that is only missing may have been lost
 * by our tap, by the kernel as a witness says, or by a path that carries not even unicast. None of these is a bare
 * failure of the SUT, and none a pass.
 */
export function blame(
  trouble: Trouble,
  context: {
    seen: Seen
    sent: Sent
    stream: SentStream
    pod?: PodSite
    taps: string[]
    stimulus: string | undefined
    closure: Closure
  },
): Finding {
  const { seen, sent, stream, pod, closure } = context
  const uncertain = (why: string): Finding => ({
    ...trouble.finding,
    status: 'inconclusive',
    message: `${trouble.message}; ${why}`,
  })
  const control = pod ? controlState(seen, sent, stream, pod) : 'none'
  if (control === 'lost') return uncertain('path broken: unicast control lost too')
  const failed: Finding = { ...trouble.finding, status: 'fail', message: trouble.message }
  if (context.stimulus) return uncertain(context.stimulus)
  if (trouble.positive) return failed
  const fault = tapFault(seen, context.taps)
  if (fault) return uncertain(fault)
  const sender = podOf(seen, stream.pod)
  const path = sender && pod ? pathTaps(seen, sender, pod) : context.taps
  const losses = lossesOn(seen, path)
  const lost = losses.reduce((sum, loss) => sum + loss.frames, 0)
  if (lost >= trouble.missing) return uncertain(`lost at ${lossText(losses)}`)
  if ('reason' in closure && control !== 'complete') return uncertain(closure.reason)
  if (lost > 0)
    failed.details = [
      ...(failed.details ?? []),
      `only ${lost} of ${trouble.missing} are explained by ${lossText(losses)}`,
    ]
  return failed
}
