#!/usr/bin/env bash
# What no compiler checks: nothing big, machine-bound or unfinished is committed, and files stay readable.
set -euo pipefail
cd "$(dirname "$0")/.."

FILE_BYTES_LIMIT=1048576
FILE_LINES_LIMIT=800
failed=0

complain() { # TITLE LINES: fails if there are any
  if [ -n "$2" ]; then
    printf '%s\n%s\n' "$1" "$2" >&2
    failed=1
  fi
}

listed() { git ls-files -z --cached --others --exclude-standard -- "$@" | xargs -0 -r -n1 sh -c '[ -f "$0" ] && printf "%s\n" "$0"; true'; }
matching() { git grep -nIE --untracked "$1" -- "${@:2}" || true; }

big=$(listed | while IFS= read -r file; do
  if [ "$(stat -c %s "$file")" -gt "$FILE_BYTES_LIMIT" ]; then printf '%s\n' "$file"; fi
done)
# What a program has written is read by programs.
long=$(listed '*.rs' '*.py' '*.ts' '*.svelte' '*.css' '*.sh' ':!*.generated.*' | while IFS= read -r file; do
  if [ "$(wc -l < "$file")" -gt "$FILE_LINES_LIMIT" ]; then printf '%s\n' "$file"; fi
done)
# Written so that this file does not match itself. Lock files are the package managers' own.
machine=$(matching '\.\./share[d]|/wor[k]/|/far[m]/|pythonhoste[d]|registry\.np[m]|(index|static)\.crate[s]|//py[p]i\.' \
  . ':!*.lock' ':!*package-lock.json')
unfinished=$(matching 'todo[!]\(|unimplemented[!]\(|\b(TOD[O]|FIXM[E])\b' '*.rs' '*.ts' '*.svelte' '*.py' '*.sh' Makefile)

complain "Files over $FILE_BYTES_LIMIT bytes:" "$big"
complain "Source files over $FILE_LINES_LIMIT lines:" "$long"
complain "Names of one machine, or of a package registry's host:" "$machine"
complain "Unfinished:" "$unfinished"
exit "$failed"
