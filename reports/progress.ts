import type { CaseResult, RunResult } from './result.ts'

/**
 * What a run tells while it works: plain data, in this order for each stage: stageStarted, stageReady, then caseStarted,
 * caseStep and caseRan for its cases (side by side), stageJudging, caseFinished for each, stageFinished. Verdicts come at
 * the end of a stage because its taps stay open until then: a copy that comes late is still a copy.
 */
export interface Progress {
  runStarted(run: RunStart): void
  stageStarted(stage: StageStart): void
  stageReady(stage: { stage: string; tookMs: number }): void
  caseStarted(what: { stage: string; id: string; attempt: number }): void
  caseStep(what: { stage: string; id: string; step: string; action: string }): void
  caseRan(what: { stage: string; id: string }): void
  stageJudging(stage: { stage: string; cases: number }): void
  /** Decided; an inconclusive case that is tried again comes once, after its last attempt. */
  caseFinished(result: CaseResult): void
  stageFinished(stage: { stage: string; tookMs: number }): void
  /** Something a person should know that is no verdict. */
  warning(text: string): void
  runFinished(result: RunResult): void
}

export interface RunStart {
  runId: string
  directory: string
  seed: number
  cases: number
  stages: number
  /** Names of faults that the SUT was given. */
  faults: string[]
}

export interface StageStart {
  stage: string
  target: string
  description: string
  cases: number
  nodes: number
  pods: number
}

/** For those who listen to a few events only. */
export function progressOf(listener: Partial<Progress>): Progress {
  const nothing = (): void => {}
  return {
    runStarted: nothing,
    stageStarted: nothing,
    stageReady: nothing,
    caseStarted: nothing,
    caseStep: nothing,
    caseRan: nothing,
    stageJudging: nothing,
    caseFinished: nothing,
    stageFinished: nothing,
    warning: nothing,
    runFinished: nothing,
    ...listener,
  }
}

/** Tells both, in this order. */
export function both(one: Progress, other: Progress): Progress {
  const names = Object.keys(progressOf({})) as (keyof Progress)[]
  const tell = (name: keyof Progress) => (what: never) => {
    one[name](what)
    other[name](what)
  }
  return progressOf(Object.fromEntries(names.map(name => [name, tell(name)])))
}
