import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { faultNames } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { encryptionText } from '../lab/encryption-text.ts'
import { ask, type LabStatus, type NodeEncryption } from '../lab/protocol.ts'
import { findLab, isAlive, type LabEntry, listLabs, removeLeftovers } from '../lab/registry.ts'
import { type LabWanted, newLabId } from '../lab/supervisor.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { loadSuites } from '../suite/load.ts'
import type { Topology } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import { requireTarget } from '../target/requirements.ts'
import type { LabOptions } from './options.ts'

/** The founding document's walk-through: three nodes, four pods, two of them on the second node. */
const DEFAULT_TOPOLOGY: Topology = {
  nodes: ['n1', 'n2', 'n3'],
  pods: [
    { name: 'n1-1', node: 'n1' },
    { name: 'n2-1', node: 'n2' },
    { name: 'n2-2', node: 'n2' },
    { name: 'n3-1', node: 'n3' },
  ],
}
const DOWN_LIMIT_MS = 10_000
const DEATH_LIMIT_MS = 3000
const NEXT_COLUMN = 39

export async function labCommand(options: LabOptions, io: Io): Promise<number> {
  for (const id of await removeLeftovers()) printLine(io, `removed what lab ${id} left behind`)
  switch (options.action) {
    case 'up':
      return up(options, io)
    case 'down':
      return down(options, io)
    case 'status':
      return status(options, io)
    case 'shell':
      return shell(options, io)
  }
}

async function up(options: LabOptions, io: Io): Promise<number> {
  const target = targetNamed(options.target ?? 'reference')
  const wanted: LabWanted = {
    id: newLabId(),
    target: target.name,
    topology:
      options.suite === undefined
        ? (target.labTopology ?? DEFAULT_TOPOLOGY)
        : topologyOf(resolve(io.cwd, options.suite), target.name),
    faults: faultNames(options.fault),
  }
  await requireTarget(target)
  printStatus(await startSupervisor(wanted), io)
  printLine(io)
  if (!target.labTopology)
    printLine(io, `${'castproof mcast group add 225.0.0.11'.padEnd(NEXT_COLUMN)}enables a group on every node`)
  printLine(io, `${`castproof lab shell ${wanted.topology.pods[0]?.name}`.padEnd(NEXT_COLUMN)}a shell in a pod`)
  printLine(io, `${'castproof lab down'.padEnd(NEXT_COLUMN)}takes it down`)
  return 0
}

function topologyOf(suite: string, target: string): Topology {
  const { plan, errors } = loadSuites([suite], { targets: [target] })
  if (errors.length > 0) throw new UserErrors(errors)
  const stage = plan.stages[0]
  if (!stage) throw new UserError('no-topology', `${suite} has no case for target ${target}`)
  return stage.topology
}

interface SupervisorMessage {
  ready?: LabStatus
  failed?: string
  exitCode?: number
}

/** Detached: it outlives this command and is found again by its socket. */
async function startSupervisor(wanted: LabWanted): Promise<LabStatus> {
  const main = fileURLToPath(new URL('../lab/supervisor-main.ts', import.meta.url)).replace(
    /\.ts$/,
    import.meta.url.endsWith('.ts') ? '.ts' : '.js',
  )
  const child = execa(process.execPath, [...process.execArgv, main, JSON.stringify(wanted)], {
    detached: true,
    ipc: true,
    stdio: 'ignore',
    reject: false,
    cleanup: false,
    buffer: false,
  })
  const ended = child.then(result => ({
    failed: `the lab's supervisor ended: ${result.originalMessage ?? result.exitCode}`,
  }))
  const message = (await Promise.race([child.getOneMessage(), ended])) as SupervisorMessage
  if (!message.ready) throw new UserError('lab-failed', message.failed ?? 'the lab did not come up')
  child.unref()
  return message.ready
}

function printStatus(status: LabStatus, io: Io): void {
  const faults = status.faults.length > 0 ? `, faults: ${status.faults.join(', ')}` : ''
  printLine(io, `lab ${status.id}: ${status.target}${faults}`)
  for (const node of status.site.nodes) {
    printLine(
      io,
      `  ${node.name}  ${formatIpv4(node.address).padEnd(15)} ${inNamespace(status.namespaces[node.name])}`.trimEnd(),
    )
    const pods = status.site.pods.filter(pod => pod.node === node.name)
    for (const pod of pods.slice(0, 8)) {
      const namespace = status.namespaces[pods.length > 64 ? `${node.name}-pods` : pod.name]
      printLine(io, `    ${pod.name}  ${formatIpv4(pod.address).padEnd(15)} ${inNamespace(namespace)}`.trimEnd())
    }
    if (pods.length > 8) printLine(io, `    … and ${pods.length - 8} more pods`)
  }
}

async function down(options: LabOptions, io: Io): Promise<number> {
  const labs = options.all ? listLabs().filter(isAlive) : [findLab(options.lab)]
  for (const lab of labs) {
    const refusal = await ask(lab.id, { op: 'down' }).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (refusal !== undefined && !(await dies(lab))) throw refusal
    await gone(lab.id)
    printLine(io, `lab ${lab.id} is down`)
  }
  if (labs.length === 0) printLine(io, 'no lab is up')
  return 0
}

/** A process that was killed cannot answer, and is there until the kernel has closed what it held. */
function dies(lab: LabEntry): Promise<boolean> {
  return within(DEATH_LIMIT_MS, () => !isAlive(lab))
}

/** The registry entry goes last, after every namespace; of a lab that died on the way, by our hand. */
async function gone(id: string): Promise<void> {
  const isGone = async () => {
    await removeLeftovers()
    return listLabs().every(lab => lab.id !== id)
  }
  if (!(await within(DOWN_LIMIT_MS, isGone))) throw new Error(`lab ${id} did not go down within ${DOWN_LIMIT_MS} ms`)
}

async function within(limitMs: number, isSo: () => boolean | Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + limitMs
  while (!(await isSo())) {
    if (performance.now() > endMs) return false
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  return true
}

async function printWithEncryption(status: LabStatus, io: Io): Promise<void> {
  printStatus(status, io)
  const nodes = await ask<NodeEncryption>(status.id, { op: 'encryption' })
  for (const line of encryptionText(status.site.encryption?.mode, nodes)) printLine(io, line)
}

async function status(options: LabOptions, io: Io): Promise<number> {
  const labs = (options.lab === undefined ? listLabs().filter(isAlive) : [findLab(options.lab)]).map(lab => lab.id)
  const all = await Promise.all(labs.map(id => ask<LabStatus>(id, { op: 'status' })))
  if (options.json) printLine(io, JSON.stringify(all, null, 2))
  else if (all.length === 0) printLine(io, 'no lab is up; castproof lab up brings one up')
  else for (const one of all) await printWithEncryption(one, io)
  return 0
}

async function shell(options: LabOptions, io: Io): Promise<number> {
  const lab = findLab(options.lab)
  const current = await ask<LabStatus>(lab.id, { op: 'status' })
  const place = options.place ?? ''
  const known = [...current.site.pods, ...current.site.nodes].map(item => item.name)
  if (!known.includes(place)) {
    throw new UserError('no-place', `lab ${lab.id} has no pod or node ${place}`, {
      hint: `there are ${known.slice(0, 12).join(', ')}`,
    })
  }
  const namespace = current.namespaces[place]
  const program = options.program.length > 0 ? options.program : [io.env['SHELL'] ?? '/bin/sh']
  const result = await execa('ip', ['netns', 'exec', namespace ?? '', ...program], { stdio: 'inherit', reject: false })
  return result.exitCode ?? 1
}

/** Pods of a cluster are in namespaces that are not ours to name. */
function inNamespace(name: string | undefined): string {
  return name === undefined ? '' : `namespace ${name}`
}
