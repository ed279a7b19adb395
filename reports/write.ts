import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { resultJson } from './json.ts'
import type { RunResult } from './result.ts'

/** Whole or not at all: a reader never sees half a file, and a full disk leaves the old one. */
export function writeWhole(path: string, text: string): void {
  const draft = `${path}.${process.pid}.tmp`
  try {
    writeFileSync(draft, text)
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    throw error
  }
}

/** `result.json` in the run directory. */
export function writeResult(result: RunResult): void {
  writeWhole(join(result.directory, 'result.json'), resultJson(result))
}

/** One TEST-<area>.xml an area in `directory`; the CI system that runs us decides how attachments are named. */
export async function writeJunit(
  result: RunResult,
  directory: string,
  environment: CiEnvironment,
  projectDirectory: string,
): Promise<string[]> {
  const { attachmentPaths, junitFiles } = await import('./junit.ts')
  const junitDirectory = resolve(projectDirectory, directory)
  const options = attachmentPaths(attachmentBase(environment), {
    runDirectory: result.directory,
    junitDirectory,
    projectDirectory,
  })
  mkdirSync(junitDirectory, { recursive: true })
  return junitFiles(result, options).map(({ name, text }) => {
    const path = join(junitDirectory, name)
    writeWhole(path, text)
    return path
  })
}

/** Behind what is in the file: a step of a pipeline, or a run that repeats, may write there more than once. */
export async function appendSummary(result: RunResult, path: string): Promise<void> {
  const { summaryMarkdown } = await import('./markdown.ts')
  appendFileSync(path, summaryMarkdown(result))
}

/** What tells one CI system from another. */
export type CiEnvironment = { [name in 'GITLAB_CI' | 'JENKINS_URL']?: string | undefined }

export function attachmentBase(environment: CiEnvironment): 'xml' | 'project' | 'absolute' {
  if (environment.GITLAB_CI) return 'project'
  return environment.JENKINS_URL ? 'absolute' : 'xml'
}
