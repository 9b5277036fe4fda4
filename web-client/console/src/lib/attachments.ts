// Files that a learner adds to an appeal.

export const FILES_MOST = 3;
export const FILE_BYTES_MOST = 1024 * 1024;
export const FILE_TYPES = ['image/jpeg', 'image/png', 'application/pdf'];

export type FileProblem = { kind: 'tooMany' } | { kind: 'tooBig' | 'wrongType'; name: string };

/** Why these files cannot be sent, if so. */
export function problemOf(files: readonly { name: string; size: number; type: string }[]): FileProblem | null {
  if (files.length > FILES_MOST) return { kind: 'tooMany' };
  for (const { name, size, type } of files) {
    if (!FILE_TYPES.includes(type)) return { kind: 'wrongType', name };
    if (size > FILE_BYTES_MOST) return { kind: 'tooBig', name };
  }
  return null;
}

export function base64(bytes: Uint8Array): string {
  let text = '';
  // In parts: a call takes only so many arguments.
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(text);
}
