// What a pack's parameters are when it does not say (docs/rules.md, section 2).

export const DEFAULTS = {
  class_hour_ms: 2_400_000,
  max_rate_milli: 1005,
  position_tolerance_ms: 2_000,
  jump_tolerance_ms: 1_000,
  gap_limit_ms: 30_000,
  late_limit_ms: 30_000,
  prompt_max_gap_ms: 300_000,
  hidden_grace_ms: 10_000,
  blur_grace_ms: 60_000,
  presence_tolerance_ms: 5_000,
  start_verify_ms: 180_000,
  max_face_failures: 3,
  max_spoofs: 2,
  face_window: 8,
  face_window_failures: 3,
  passive_limit_milli: 800,
  passive_scores_least: 3,
  photo_due_ms: 1_200_000,
  short_session_ms: 60_000,
  completion_milli: 950,
  online_quota_milli: 400,
  online_quota_grace_ms: 60_000,
  clock_lead_ms: 3_000,
};

export type Parameters = typeof DEFAULTS;

/** The parameters that a server said, with defaults where it said none. */
export function parametersOf(said: Record<string, unknown>): Parameters {
  const result: Record<string, number> = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = said[name];
    if (typeof value === 'number') result[name] = value;
  }
  return result as Parameters;
}
