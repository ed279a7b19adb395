import type { StreamSpec } from '../generators/stream-spec.ts'

/**
 * A stream that steps run beside, where each takes that many times longer than suites are written for: as many frames, at a
 * rate that leaves the steps as many of them.
 */
export function stretched<Spec extends Pick<StreamSpec, 'rate' | 'burst' | 'durationMs'>>(
  spec: Spec,
  times: number,
): Spec {
  if (times === 1) return spec
  const { rate, burst, durationMs } = spec
  return {
    ...spec,
    ...(rate === 'max' ? {} : { rate: slower(rate, times) }),
    ...(burst === undefined ? {} : { burst: { ...burst, gapUs: burst.gapUs * times } }),
    ...(durationMs === undefined ? {} : { durationMs: durationMs * times }),
  }
}

function slower(rate: Exclude<StreamSpec['rate'], 'max'>, times: number): StreamSpec['rate'] {
  return 'pps' in rate ? { pps: rate.pps / times } : { bitsPerSecond: rate.bitsPerSecond / times }
}
