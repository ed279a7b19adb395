import { randomBytes } from 'node:crypto'
import type { Topology } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import type { Site } from '../target/target.ts'
import { type LabRequest, type LabStatus, type NodeEncryption, serve } from './protocol.ts'
import { processStartTicks, register, unregister } from './registry.ts'

export interface LabWanted {
  id: string
  target: string
  topology: Topology
  faults: string[]
}

export function newLabId(): string {
  return randomBytes(2).toString('hex')
}

/** Names of a lab's namespaces: pod or node → `cp-<id>-<place>`. */
export function namespaceNames(id: string, topology: Topology): Record<string, string> {
  const places = [
    'underlay',
    ...topology.nodes,
    ...topology.pods.map(pod => pod.name),
    ...topology.nodes.map(node => `${node}-pods`),
  ]
  return Object.fromEntries(places.map(place => [place, `cp-${id}-${place}`]))
}

/**
 * Holds a lab: brings the target up under names, answers on its socket, takes everything down when asked or told to
 * stop. Registered before the first namespace is made, so that whoever finds it dead knows what to remove.
 */
export async function superviseLab(
  wanted: LabWanted,
  stop: AbortSignal,
  onReady: (status: LabStatus) => void,
): Promise<void> {
  const namespaces = namespaceNames(wanted.id, wanted.topology)
  const { id, target, faults } = wanted
  const pidStartTicks = processStartTicks(process.pid) ?? ''
  register({ id, pid: process.pid, pidStartTicks, target, faults, namespaces: Object.values(namespaces) })
  try {
    const site = await targetNamed(target).bringUp(wanted.topology, { faults, prefix: `cp-${id}` }, stop)
    try {
      await holdLab({ id, target, faults, site: site.map, namespaces }, site, stop, onReady)
    } finally {
      await site.close()
    }
  } finally {
    unregister(id)
  }
}

/** Serves a site that is up until `down` is asked for or `stop` comes. */
export async function holdLab(
  status: LabStatus,
  site: Site,
  stop: AbortSignal,
  onReady: (status: LabStatus) => void,
): Promise<void> {
  const down = new AbortController()
  const server = await serve(status.id, request => answer(request, status, site, down))
  try {
    onReady(status)
    await aborted(AbortSignal.any([down.signal, stop]))
  } finally {
    server.close()
  }
}

async function answer(request: LabRequest, status: LabStatus, site: Site, down: AbortController): Promise<unknown> {
  const nodes = site.map.nodes.map(node => node.name)
  switch (request.op) {
    case 'status':
      return status
    case 'tables':
      return Promise.all(nodes.map(async node => ({ node, groups: await site.tables(node) })))
    case 'drops':
      return Promise.all(nodes.map(async node => ({ node, reasons: await site.drops(node) })))
    case 'encryption':
      return encryptionOf(nodes, site)
    case 'enable':
      for (const node of chosen(nodes, request.node)) await site.enableGroup(node, request.group)
      return null
    case 'disable':
      for (const node of chosen(nodes, request.node)) await site.disableGroup(node, request.group)
      return null
    case 'down':
      // Answer first: the socket goes with the lab.
      setImmediate(() => down.abort())
      return null
  }
}

async function encryptionOf(nodes: readonly string[], { encryption }: Site): Promise<NodeEncryption> {
  if (!encryption) return []
  return Promise.all(
    nodes.map(async node => ({
      node,
      states: await encryption.states(node),
      errors: await encryption.errors(node),
    })),
  )
}

function chosen(nodes: readonly string[], node: string | undefined): readonly string[] {
  if (node === undefined) return nodes
  if (!nodes.includes(node)) throw new Error(`no node is called ${node}; there are ${nodes.join(', ')}`)
  return [node]
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
