// Disjoint ascending intervals, of milliseconds.

export type Interval = [from: number, to: number];

/** `intervals` with one more, merged where they touch. */
export function add(intervals: readonly Interval[], [from, to]: Interval): Interval[] {
  const result: Interval[] = [];
  let merged: Interval = [from, to];
  for (const interval of intervals) {
    if (interval[1] < merged[0] || interval[0] > merged[1]) result.push(interval);
    else merged = [Math.min(interval[0], merged[0]), Math.max(interval[1], merged[1])];
  }
  result.push(merged);
  return result.sort((a, b) => a[0] - b[0]);
}

export function length(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, [from, to]) => sum + (to - from), 0);
}

/** How much of `intervals` is not in `others`. */
export function lengthOutside(intervals: readonly Interval[], others: readonly Interval[]): number {
  let shared = 0;
  for (const [from, to] of intervals) {
    for (const [start, end] of others) shared += Math.max(0, Math.min(to, end) - Math.max(from, start));
  }
  return length(intervals) - shared;
}
