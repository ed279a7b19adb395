import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import { GATEWAY } from '../target/bed.ts'
import type { CniNode } from './node.ts'
import type { PodInterface } from './pod-interface.ts'
import { type CniAnswer, type CniCall, REFUSED } from './protocol.ts'

/** One call of the CNI specification 1.0.0, section 3; what the plugin prints. */
export async function answerCall(node: CniNode, call: CniCall): Promise<CniAnswer> {
  const { cniVersion = '1.0.0' } = call.config
  const { containerId, ifName } = call
  const netns = `/proc/${call.pid}/fd/${call.netnsFd}`
  try {
    if (call.command === 'DEL') {
      await node.remove(containerId, ifName)
      return { result: null }
    }
    if (call.command === 'CHECK') {
      const wrong = await node.check(containerId, ifName, netns)
      return wrong === undefined ? { result: null } : refusal(cniVersion, wrong)
    }
    return { result: resultOf(cniVersion, await node.add(containerId, ifName, netns), call) }
  } catch (error) {
    return refusal(cniVersion, error instanceof Error ? error.message : String(error))
  }
}

function refusal(cniVersion: string, msg: string): CniAnswer {
  return { error: { cniVersion, code: REFUSED, msg } }
}

function resultOf(cniVersion: string, pod: PodInterface, { netns }: CniCall): unknown {
  return {
    cniVersion,
    interfaces: [
      { name: pod.nodeInterface, mac: formatMac(pod.nodeMac) },
      { name: pod.ifName, mac: formatMac(pod.mac), sandbox: netns },
    ],
    // Versions before 1.0 want the family as well.
    ips: [
      {
        ...(cniVersion.startsWith('0.') ? { version: '4' } : {}),
        interface: 1,
        address: `${formatIpv4(pod.address)}/32`,
        gateway: GATEWAY,
      },
    ],
    routes: [{ dst: '0.0.0.0/0', gw: GATEWAY }],
    dns: {},
  }
}
