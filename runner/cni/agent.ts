import { formatIpv4 } from '../../generators/wire/address.ts'
import { faultNames } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { type LabStatus, serve } from '../lab/protocol.ts'
import { processStartTicks, register, unregister } from '../lab/registry.ts'
import { OVERLAY_UDP_PORT } from '../target/bed.ts'
import { ApiServer } from './api-server.ts'
import { answerCall } from './calls.ts'
import { type InstallPlaces, install, uninstall } from './install.ts'
import { CniNode, VNI } from './node.ts'
import { OVERLAY } from './node-network.ts'
import { CNI_LAB, type NodeRequest } from './protocol.ts'
import { Publisher } from './publisher.ts'
import {
  type CoreNode,
  declaredGroups,
  GROUPS_PATH,
  identityOf,
  type MulticastGroup,
  type MulticastNode,
  multicastNode,
  NODES_PATH,
  peerOf,
} from './resources.ts'

export interface AgentOptions {
  nodeName: string
  faults: readonly string[]
  places: InstallPlaces
}

const TARGET = 'reference-cni'

/** Serves a node until stopped, then leaves it as it was. */
export async function runAgent({ nodeName, faults, places }: AgentOptions, io: Io): Promise<void> {
  const api = new ApiServer()
  const own = await api.get<CoreNode>(`/api/v1/nodes/${nodeName}`)
  const trouble = (what: string) => (error: Error) => printLine(io, `${what}: ${error.message}`)
  let publisher: Publisher | undefined
  const node = await CniNode.start(identityOf(own), faults, () => publisher?.changed())
  const path = `${NODES_PATH}/${nodeName}`
  publisher = new Publisher(
    async () => {
      const groups = await node.published()
      const withPods = node.faults.includes('tunnel-per-pod')
      await api.apply(path, multicastNode(node.identity, own.metadata.uid, groups, withPods))
    },
    trouble('publishing'),
    io.signal,
  )
  try {
    await holdNode(node, places, io, async () => {
      publisher.changed()
      await Promise.all([
        api.watch<MulticastGroup>(
          GROUPS_PATH,
          async all => {
            const refused = await node.setGroups(declaredGroups(all))
            if (refused.length > 0)
              printLine(io, `groups refused, the node is full: ${refused.map(formatIpv4).join(' ')}`)
          },
          trouble('watching groups'),
          io.signal,
        ),
        api.watch<MulticastNode>(
          NODES_PATH,
          all => node.setPeers(all.filter(({ metadata }) => metadata.name !== nodeName).map(peerOf)),
          trouble('watching nodes'),
          io.signal,
        ),
      ])
    })
  } finally {
    await publisher.ended()
    await api.delete(path).catch(trouble('withdrawing'))
    await node.close()
  }
}

/** Registered as a lab, so that `castproof mcast` finds the node's tables. */
async function holdNode(
  node: CniNode,
  places: InstallPlaces,
  io: Io,
  serveUntilStopped: () => Promise<void>,
): Promise<void> {
  register({
    id: CNI_LAB,
    pid: process.pid,
    pidStartTicks: processStartTicks(process.pid) ?? '',
    target: TARGET,
    faults: [...node.faults],
    namespaces: [],
  })
  const server = await serve<NodeRequest>(CNI_LAB, request => answer(request, node))
  try {
    install(places)
    const { name, address, pods } = node.identity
    printLine(io, `${name}: ${formatIpv4(address)} on ${node.uplink.name}, pods ${pods.text}, VNI ${VNI}`)
    await serveUntilStopped()
  } finally {
    uninstall(places)
    server.close()
    unregister(CNI_LAB)
  }
}

async function answer(request: NodeRequest, node: CniNode): Promise<unknown> {
  switch (request.op) {
    case 'cni':
      return answerCall(node, request)
    case 'status':
      return status(node)
    case 'tables':
      return [{ node: node.identity.name, groups: node.tables() }]
    case 'drops':
      return [{ node: node.identity.name, reasons: node.drops() }]
    case 'encryption':
      return []
    case 'faults':
      return node.setFaults(faultNames(request.faults))
    case 'restart':
      return node.restartControlPlane()
    case 'enable':
    case 'disable':
      throw new Error('in a cluster groups are declared by IsovalentMulticastGroup resources')
    case 'down':
      throw new Error('in a cluster the agent goes with its DaemonSet')
  }
}

async function status(node: CniNode): Promise<LabStatus> {
  const { name, address } = node.identity
  const pods = await node.pods()
  return {
    id: CNI_LAB,
    target: TARGET,
    faults: [...node.faults],
    namespaces: {},
    site: {
      nodes: [
        {
          name,
          address,
          mac: node.uplink.mac,
          uplinkTap: `${name}/${node.uplink.name}`,
          overlayTap: `${name}/${OVERLAY}`,
        },
      ],
      pods: pods.map(pod => ({
        name: formatIpv4(pod.address),
        node: name,
        address: pod.address,
        mac: pod.mac,
        gatewayMac: pod.nodeMac,
        podTap: `${formatIpv4(pod.address)}/${pod.ifName}`,
        nodeTap: `${name}/${pod.nodeInterface}`,
      })),
      overlay: { udpPort: OVERLAY_UDP_PORT, vni: VNI },
    },
  }
}
