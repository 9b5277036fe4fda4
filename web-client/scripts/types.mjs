#!/usr/bin/env node
// TypeScript types from the server's committed schemas, so that a page and a back end are checked against what the server
// reads and writes. `types.mjs` writes them, `types.mjs --check` fails when what is committed is not what it would write.
// It knows the part of JSON Schema that those documents use, and refuses the rest. Of the REST API it writes a client too.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { clientOf, clientTypesOf } from './rest.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const OUTPUTS = [
  {
    from: 'docs/protocol.schema.json',
    to: 'web-client/sdk/src/wire.generated.ts',
    parts: (document) => declarations(document.$defs),
  },
  {
    from: 'docs/openapi.json',
    to: 'web-client/examples/node/rest.generated.d.ts',
    parts: (document) => [...declarations(document.components.schemas), clientTypesOf(document, { typeOf, comment })],
  },
  {
    from: 'docs/openapi.json',
    to: 'web-client/examples/node/rest.generated.js',
    parts: (document) => [clientOf(document)],
  },
];
const KNOWN = new Set([
  'type',
  'format',
  'description',
  'title',
  'enum',
  'const',
  'oneOf',
  'anyOf',
  'allOf',
  '$ref',
  'items',
  'properties',
  'required',
  'additionalProperties',
  'propertyNames',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'pattern',
  'default',
  'example',
  'examples',
  'deprecated',
]);

function comment(text, indent) {
  if (!text) return '';
  const lines = text.replaceAll('*/', '* /').split('\n');
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join('\n')}\n${indent} */\n`;
}

const unite = (types, by) => [...new Set(types)].join(` ${by} `);
const bracketed = (type) => (/[|&]/.test(type) && !/^[{(]/.test(type) ? `(${type})` : type);

function typeOf(schema, indent) {
  const strange = Object.keys(schema).filter((key) => !KNOWN.has(key) && !key.startsWith('x-'));
  if (strange.length > 0) throw new Error(`types.mjs does not know ${strange.join(', ')}`);
  if (schema.$ref) return schema.$ref.split('/').pop();
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum)
    return unite(
      schema.enum.map((value) => JSON.stringify(value)),
      '|',
    );
  if (schema.oneOf ?? schema.anyOf)
    return unite(
      (schema.oneOf ?? schema.anyOf).map((one) => bracketed(typeOf(one, indent))),
      '|',
    );
  if (schema.allOf)
    return unite(
      schema.allOf.map((one) => bracketed(typeOf(one, indent))),
      '&',
    );
  const kinds = [schema.type ?? 'any'].flat();
  return unite(
    kinds.map((kind) => plain(kind, schema, indent)),
    '|',
  );
}

function plain(kind, schema, indent) {
  switch (kind) {
    case 'string':
    case 'boolean':
    case 'null':
      return kind;
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
      return `${bracketed(typeOf(schema.items ?? {}, indent))}[]`;
    case 'object':
      return object(schema, indent);
    case 'any':
      return 'unknown';
    default:
      throw new Error(`types.mjs does not know the type ${kind}`);
  }
}

function object(schema, indent) {
  const others = schema.additionalProperties;
  if (!schema.properties) return `Record<string, ${others && others !== true ? typeOf(others, indent) : 'unknown'}>`;
  return fields(schema, indent);
}

function fields(schema, indent) {
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    const isThere = schema.required?.includes(name);
    return `${comment(field.description, inner)}${inner}${key}${isThere ? '' : '?'}: ${typeOf(field, inner)};\n`;
  });
  return `{\n${lines.join('')}${indent}}`;
}

function declaration([name, schema]) {
  const isInterface = schema.type === 'object' && schema.properties && !schema.allOf && !schema.oneOf;
  const body = isInterface ? `interface ${name} ${fields(schema, '')}` : `type ${name} = ${typeOf(schema, '')};`;
  return `${comment(schema.description, '')}export ${body}\n`;
}

function declarations(schemas) {
  return Object.entries(schemas)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(declaration);
}

async function main(isCheck) {
  for (const { from, to, parts } of OUTPUTS) {
    const head = `// Written by web-client/scripts/types.mjs from ${from}. Change that, not this.\n`;
    const text = [head, ...parts(JSON.parse(await readFile(root + from, 'utf8')))].join('\n');
    if (!isCheck) await writeFile(root + to, text);
    else if ((await readFile(root + to, 'utf8').catch(() => '')) !== text) {
      console.error(`${to} is stale: renew it with \`node web-client/scripts/types.mjs\`, and read the difference`);
      process.exitCode = 1;
    }
  }
}

await main(process.argv.includes('--check'));
