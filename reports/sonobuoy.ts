import { stringify } from 'yaml'
import type { CaseResult, RunResult, Status } from './result.ts'

/** A node of Sonobuoy's results format (`result-format: manual`). */
interface Item {
  name: string
  status: 'passed' | 'failed' | 'skipped'
  meta?: Record<string, string>
  details?: Record<string, string>
  items?: Item[]
}

/** Sonobuoy knows no case that could not be judged: it must not count as passed. */
const STATUS: Readonly<Record<Status, Item['status']>> = {
  pass: 'passed',
  fail: 'failed',
  inconclusive: 'failed',
  skip: 'skipped',
  waived: 'skipped',
}

/** `sonobuoy_results.yaml`: an item an area, in it one a case. */
export function sonobuoyResults(result: RunResult): string {
  const areas = new Map<string, CaseResult[]>()
  for (const one of result.cases) areas.set(areaOf(one), [...(areas.get(areaOf(one)) ?? []), one])
  const items = [...areas].map(([name, cases]): Item => parent(name, cases.map(itemOf), { type: 'file' }))
  return stringify(parent('castproof', [...items, ...bugs(result)], { type: 'summary' }), { lineWidth: 0 })
}

/** An attempt that a bug of ours ended, and another that passed: the run is no pass, and only its exit code says so. */
function bugs({ exitCode, warnings }: RunResult): Item[] {
  return exitCode === 70 ? [failedRun(warnings.join('\n'))] : []
}

function failedRun(error: string): Item {
  return { name: 'run', status: 'failed', details: { error } }
}

/** For a run that came to no result: a plugin that says nothing is waited for until Sonobuoy's own time limit. */
export function sonobuoyFailure(error: string): string {
  return stringify(parent('castproof', [failedRun(error)], { type: 'summary' }), { lineWidth: 0 })
}

function parent(name: string, items: Item[], meta: Record<string, string>): Item {
  const has = (status: Item['status']) => items.some(item => item.status === status)
  return { name, status: has('failed') ? 'failed' : has('passed') ? 'passed' : 'skipped', meta, items }
}

function itemOf(one: CaseResult): Item {
  const details = {
    verdict: one.status,
    title: one.title,
    requirements: one.covers.map(({ id, rfc }) => `${id} ${rfc}`.trim()).join(', '),
    ...(one.status === 'pass' ? {} : { [one.status === 'fail' ? 'failure' : 'reason']: one.message }),
  }
  return { name: one.id, status: STATUS[one.status], meta: { file: one.file }, details }
}

function areaOf({ id }: CaseResult): string {
  return id.slice(0, Math.max(0, id.indexOf('/'))) || id
}
