import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { texts as english } from '../src/i18n/en';
import { texts as chinese } from '../src/i18n/zh-CN';
import { RULES } from '../src/lib/rules';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const src = fileURLToPath(new URL('../src/', import.meta.url));

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );
}

const sources = files(src)
  .filter((name) => /\.(ts|svelte)$/.test(name) && !/i18n\/(en|zh-CN)\.ts$/.test(name))
  .map((name) => ({ name: name.slice(src.length), text: readFileSync(name, 'utf8') }));

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

describe('texts', () => {
  it('are complete in both languages, with the same values in them', () => {
    expect(Object.keys(english).sort()).toEqual(Object.keys(chinese).sort());
    for (const [key, text] of Object.entries(chinese)) {
      const other = english[key as keyof typeof english];
      expect(other.trim(), key).not.toBe('');
      expect(placeholders(other), key).toEqual(placeholders(text));
    }
  });

  it('are each in their own language', () => {
    const han = /\p{Script=Han}/u;
    for (const [key, text] of Object.entries(english)) {
      if (key !== 'ui.language') expect(han.test(text), `${key}: ${text}`).toBe(false);
    }
    // What no language translates.
    const same = new Set(['ui.language', 'ui.times', 'log.other']);
    for (const [key, text] of Object.entries(chinese)) {
      if (!same.has(key)) expect(han.test(text), `${key}: ${text}`).toBe(true);
    }
  });

  it('stand nowhere else: no page has words of its own', () => {
    for (const { name, text } of sources) expect(/\p{Script=Han}/u.test(text), name).toBe(false);
  });

  it('are all used, and all that is used is there', () => {
    const used = new Set<string>();
    const prefixes = new Set<string>();
    for (const { text } of sources) {
      for (const [, key] of text.matchAll(/['"`]([a-z]\w*(?:\.\w+)+)['"`]/g)) used.add(key!);
      for (const [, prefix] of text.matchAll(/\bword\(\s*['"`]([\w.]+)['"`]/g)) prefixes.add(`${prefix}.`);
      for (const [, prefix] of text.matchAll(/`([a-z][\w.]*\.)\$\{/g)) prefixes.add(prefix!);
      if (text.includes('word(`age.${kind}`')) prefixes.add('age.');
    }
    const unused = Object.keys(chinese).filter(
      (key) => !used.has(key) && ![...prefixes].some((prefix) => key.startsWith(prefix)),
    );
    expect(unused).toEqual([]);
    const called = sources.flatMap(({ text }) => [...text.matchAll(/\bt\(\s*'([^']+)'/g)].map(([, key]) => key!));
    expect(called.filter((key) => !(key in chinese))).toEqual([]);
  });

  it('call nothing a fraud', () => {
    for (const text of Object.values(chinese)) expect(text).not.toMatch(/作弊|舞弊|造假|骗/);
    for (const text of Object.values(english)) expect(text).not.toMatch(/cheat|fraud/i);
  });

  it('name every rule that a pack has a clause for, and every word of the contract', () => {
    const packs = readdirSync(join(root, 'src/policy/packs')).map((name) =>
      readFileSync(join(root, 'src/policy/packs', name), 'utf8'),
    );
    const rules = new Set(packs.flatMap((pack) => [...pack.matchAll(/^\[clause\.(\w+)\]/gm)].map(([, rule]) => rule!)));
    expect([...rules].sort()).toEqual([...RULES].sort());
    for (const rule of rules) expect(chinese, rule).toHaveProperty([`rule.${rule}`]);

    const contract = readFileSync(join(root, 'docs/rules.md'), 'utf8');
    const words = (row: RegExp) => [...(row.exec(contract)?.[1] ?? '').matchAll(/`(\w+)`/g)].map(([, word]) => word!);
    const causes = words(/\| `face_liveness` \| (.*) \|\n\| `client_tamper`/);
    expect(causes.length).toBeGreaterThan(5);
    for (const cause of causes) expect(chinese, cause).toHaveProperty([`cause.${cause}`]);
    const endings = words(/\| `session.closed` \| `reason`: (.*?)\(/);
    expect(endings.length).toBe(6);
    for (const ending of endings) expect(chinese, ending).toHaveProperty([`closed.${ending}`]);
  });
});
