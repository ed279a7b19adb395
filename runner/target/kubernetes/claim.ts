import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { processStartTicks } from '../../lab/registry.ts'
import { Unsupported } from '../../unsupported.ts'
import { isAbsent, isTaken, type Kubectl, type KubeObject } from './kubectl.ts'
import { ALONE_LIMIT_S, isOurs, namespaceManifest, OWNER, type Owner, RUN_NAME } from './manifests.ts'
import type { Pod } from './pods.ts'

const REMOVED_WITHIN_MS = 90_000
const LOOK_AGAIN_MS = 500

interface Namespace extends KubeObject {
  metadata: KubeObject['metadata'] & { deletionTimestamp?: string }
}

/**
 * Makes the namespace of the run. There is one name for it: two runs at once would see each other's groups and members. What a dead
 * run left goes first.
 */
export async function claimCluster(kubectl: Kubectl, tell: (line: string) => void, stop: AbortSignal): Promise<void> {
  const endMs = performance.now() + REMOVED_WITHIN_MS
  for (;;) {
    stop.throwIfAborted()
    if (await create(kubectl)) return
    const there = await kubectl.find<Namespace>('namespace', RUN_NAME)
    if (!there) continue
    if (there.metadata.deletionTimestamp !== undefined) await untilGone(endMs, stop)
    else if (await isDead(kubectl, there)) {
      await removeRun(kubectl)
      tell(`removed what the run of ${ownerText(there)} left behind`)
    } else throw inUse(there)
  }
}

async function create(kubectl: Kubectl): Promise<boolean> {
  try {
    await kubectl.create([namespaceManifest(ownerHere())])
    return true
  } catch (error) {
    if (isTaken(error)) return false
    throw error
  }
}

async function untilGone(endMs: number, stop: AbortSignal): Promise<void> {
  if (performance.now() > endMs)
    throw new Unsupported({
      feature: 'target kubernetes',
      needs: `namespace ${RUN_NAME}`,
      found: `the cluster has been removing that of an earlier run for ${REMOVED_WITHIN_MS / 1000} s`,
      remedy: `kubectl get all -n ${RUN_NAME}`,
    })
  await delay(LOOK_AGAIN_MS, undefined, { signal: stop }).catch(() => {})
}

function ownerHere(): Owner {
  return { host: hostname(), processes: processesHere(), pid: process.pid, startTicks: startTicks(process.pid) }
}

/** Where pids mean the same: one kernel, one namespace of them. */
function processesHere(): string {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  return `${bootId} ${readlinkSync('/proc/self/ns/pid')}`
}

function startTicks(pid: number): string {
  return processStartTicks(pid) ?? ''
}

/** A run elsewhere cannot be asked; its pods end by themselves soon after it. */
async function isDead(kubectl: Kubectl, namespace: Namespace): Promise<boolean> {
  if (!isOurs(namespace)) return false
  const owner = ownerOf(namespace)
  if (owner?.processes === processesHere()) return startTicks(owner.pid) !== owner.startTicks
  const ageMs = Date.now() - Date.parse(namespace.metadata.creationTimestamp ?? '')
  if (ageMs < ALONE_LIMIT_S * 1000) return false
  const pods = await kubectl.list<Pod>('pods', ['-n', RUN_NAME])
  return pods.every(pod => !['Running', 'Pending'].includes(pod.status.phase))
}

function ownerOf({ metadata }: Namespace): Owner | undefined {
  try {
    return JSON.parse(metadata.annotations?.[OWNER] ?? '') as Owner
  } catch {
    return undefined
  }
}

function ownerText(namespace: Namespace): string {
  const owner = ownerOf(namespace)
  return owner ? `process ${owner.pid} on ${owner.host}` : 'somebody unknown'
}

function inUse(namespace: Namespace): Unsupported {
  return new Unsupported({
    feature: 'target kubernetes',
    needs: 'a cluster that no other run is using',
    found: isOurs(namespace)
      ? `the run of ${ownerText(namespace)}, since ${namespace.metadata.creationTimestamp}`
      : `a namespace ${RUN_NAME} that is not ours`,
    remedy: `wait for its end; of one that is dead, the pods end within ${ALONE_LIMIT_S / 60} minutes, or kubectl delete namespace ${RUN_NAME}`,
  })
}

/** The namespace with all that is in it, and what of the run is the whole cluster's and bears the same name. */
export async function removeRun(kubectl: Kubectl): Promise<void> {
  await absentIsRight(kubectl.run(['delete', 'isovalentmulticastgroups.isovalent.com', RUN_NAME, '--ignore-not-found']))
  // First, since the namespace goes only with the last of them.
  await removePods(kubectl, ['--all'])
  await kubectl.run(['delete', 'namespace', RUN_NAME, ...LIMITS], { limitMs: REMOVED_WITHIN_MS + 10_000 })
}

const LIMITS = ['--ignore-not-found', `--timeout=${REMOVED_WITHIN_MS / 1000}s`]

/** Without waiting for their kubelets, which take ten seconds to say that a pod has ended: it holds nothing but us. */
export async function removePods(kubectl: Kubectl, names: readonly string[]): Promise<void> {
  const words = ['delete', 'pods', ...names, '-n', RUN_NAME, '--grace-period=0', '--force', ...LIMITS]
  await kubectl.run(words, { limitMs: REMOVED_WITHIN_MS + 10_000 })
}

async function absentIsRight(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!isAbsent(error)) throw error
  })
}
