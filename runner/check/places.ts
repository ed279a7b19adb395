import type { NodeSite, PodSite, Seen } from './check.ts'

/** Pods and nodes by name; undefined when the site has none of that name (a plan for another topology). */
export function podOf(seen: Seen, name: string): PodSite | undefined {
  return seen.site.pods.find(pod => pod.name === name)
}

export function nodeOf(seen: Seen, name: string): NodeSite | undefined {
  return seen.site.nodes.find(node => node.name === name)
}

/** Why exactness and absence at these taps cannot be judged; undefined when they saw everything. */
export function tapFault(seen: Seen, taps: readonly string[]): string | undefined {
  for (const tap of taps) {
    if (seen.tapIndex(tap) < 0) return `no capture of ${tap}`
    const dropped = seen.tapDropped(tap)
    if (dropped > 0) return `the tap at ${tap} lost ${dropped} frames`
    const trouble = seen.tapTrouble(tap)
    if (trouble !== undefined) return `the capture of ${tap}: ${trouble}`
  }
  return undefined
}

/** Every tap of a pod pair's path, from the sender's pod end to the receiver's. */
export function pathTaps(seen: Seen, sender: PodSite, receiver: PodSite): string[] {
  const taps = [sender.podTap, sender.nodeTap, receiver.nodeTap, receiver.podTap]
  if (sender.node === receiver.node) return taps
  const nodes = [nodeOf(seen, sender.node), nodeOf(seen, receiver.node)]
  return [...taps, ...nodes.flatMap(node => (node ? nodeTaps(node) : []))]
}

function nodeTaps({ uplinkTap, overlayTap, interfaceTaps = [] }: NodeSite): string[] {
  return [uplinkTap, overlayTap].filter(tap => tap !== undefined).concat(interfaceTaps)
}
