import { readFileSync } from 'node:fs'
import { inNetns } from '../../../generators/linux/netns.ts'
import { Unsupported } from '../../unsupported.ts'
import type { Daemons } from './daemon.ts'
import { askPim } from './frr.ts'
import type { BedRouter } from './router-bed.ts'

/** Something that must hold before a site is ready; `what` names it in the message when it never does. */
export interface Condition {
  what: string
  holds(): boolean | Promise<boolean>
}

const POLL_MS = 50

/** Resolves when every condition has held once; rejects at the limit with those that never did, or when a daemon ends. */
export async function untilReady(
  conditions: readonly Condition[],
  daemons: readonly Daemons[],
  limitMs: number,
  stop: AbortSignal,
): Promise<void> {
  const endMs = performance.now() + limitMs
  let missing = [...conditions]
  for (;;) {
    stop.throwIfAborted()
    const held = await Promise.all(missing.map(condition => condition.holds()))
    missing = missing.filter((_, i) => !held[i])
    if (missing.length === 0) return
    const trouble = daemons.find(one => one.trouble !== undefined)?.trouble
    if (trouble !== undefined || performance.now() > endMs) throw notReady(missing, limitMs, trouble)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

function notReady(missing: readonly Condition[], limitMs: number, trouble: string | undefined): Unsupported {
  return new Unsupported({
    feature: 'target router',
    needs: missing.map(({ what }) => what).join(', '),
    found: trouble ?? `none of it within ${limitMs / 1000} s`,
    remedy: 'is the machine overloaded? otherwise look at the daemons with castproof lab up --target router',
  })
}

/** The kernel's own table has a route to the network, whoever put it there. */
export function routeThere(router: BedRouter, network: string, shown: string): Condition {
  return {
    what: `route to ${shown} at ${router.name}`,
    holds: () =>
      inNetns(router.ns, () => readFileSync('/proc/thread-self/net/route', 'latin1')).includes(`\t${network}\t`),
  }
}

export function neighborThere(router: BedRouter, daemons: Daemons, interfaceName: string): Condition {
  return {
    what: `PIM neighbour of ${router.name} at ${interfaceName}`,
    holds: async () => Object.keys(((await answer(daemons, 'neighbor'))[interfaceName] as object) ?? {}).length > 0,
  }
}

export function rpKnown(router: BedRouter, daemons: Daemons, rp: string): Condition {
  return {
    what: `Rendezvous Point ${rp} at ${router.name}`,
    holds: async () => rp in (await answer(daemons, 'rp-info')),
  }
}

/** The daemon may not listen yet, or be about to. */
async function answer(daemons: Daemons, question: string): Promise<Record<string, unknown>> {
  try {
    return await askPim(daemons, question)
  } catch (error) {
    if (error instanceof Error && /ENOENT|ECONNREFUSED|closed before/.test(error.message)) return {}
    throw error
  }
}
