import { readFileSync } from 'node:fs'
import type { Series } from './prometheus.ts'

export interface Target {
  expr: string
  legendFormat: string
}

export interface Panel {
  title: string
  description: string
  fieldConfig: { defaults: { unit: string } }
  gridPos: { x: number; y: number; w: number; h: number }
  targets: Target[]
}

export interface Dashboard {
  title: string
  panels: Panel[]
}

export const DASHBOARD = JSON.parse(
  readFileSync(new URL('../../deploy/metrics/dashboard.json', import.meta.url), 'utf8'),
) as Dashboard

export function expressionsOf({ panels }: Dashboard): { panel: string; expr: string }[] {
  return panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ panel: title, expr })))
}

/** What a panel's queries gave over some time. */
export interface Answered {
  title: string
  targets: { legendFormat: string; series: Series[] }[]
}
