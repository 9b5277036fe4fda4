// A client of the REST API from its OpenAPI document: one function for each operation, and their types.

const camel = (name) => name.replaceAll(/_(\w)/g, (_, letter) => letter.toUpperCase());

function operations(document) {
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  return found.sort((a, b) => (a.operation.operationId < b.operation.operationId ? -1 : 1));
}

const parameters = (operation) => operation.parameters ?? [];
const queries = (operation) => parameters(operation).filter((one) => one.in === 'query');
const needed = (operation) => parameters(operation).some((one) => one.required) || operation.requestBody?.required;

/** What the operation answers when it succeeds: its content type and schema; nothing for an empty answer. */
function answered(operation) {
  const success = Object.entries(operation.responses).find(([status]) => status.startsWith('2'));
  return Object.entries(success?.[1].content ?? {})[0];
}

/** The client in JavaScript. */
export function clientOf(document) {
  const table = operations(document).map(({ path, method, operation }) => {
    const query = queries(operation).map((one) => one.name);
    return `  ${camel(operation.operationId)}: ${JSON.stringify([method, path, query])},`;
  });
  return `${String.raw`/** The server refused: its problem says why, and which field is wrong. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? String(status));
    this.name = 'Refusal';
    this.status = status;
    this.problem = problem;
  }
}

/** Method, path and names of the query's parameters. */
const OPERATIONS = {`}
${table.join('\n')}
${String.raw`};

async function call({ url, key, fetch = globalThis.fetch }, [method, path, names], given = {}) {
  const where = path.replaceAll(/\{(\w+)\}/g, (_, name) => {
    if (given[name] === undefined) throw new TypeError(name + ' is missing');
    return encodeURIComponent(given[name]);
  });
  const asked = names.filter((name) => given[name] !== undefined).map((name) => [name, String(given[name])]);
  const query = asked.length > 0 ? '?' + new URLSearchParams(asked) : '';
  const { body } = given;
  const isFile = body instanceof Blob;
  const answer = await fetch(url + '/api/v1' + where + query, {
    method,
    headers: {
      authorization: 'Bearer ' + key,
      ...(body !== undefined && { 'content-type': isFile ? body.type : 'application/json' }),
    },
    body: body === undefined || isFile ? body : JSON.stringify(body),
  });
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
  if (answer.status === 204) return undefined;
  return answer.headers.get('content-type')?.startsWith('application/json') ? answer.json() : answer.text();
}

/** A client of the server at options.url with the API key options.key. */
export function createClient(options) {
  const entries = Object.entries(OPERATIONS);
  return Object.fromEntries(entries.map(([name, operation]) => [name, (given) => call(options, operation, given)]));
}
`}`;
}

/** Its types, beside those of the schemas. */
export function clientTypesOf(document, { typeOf, comment }) {
  const methods = operations(document).map(({ operation }) => {
    const given = parameters(operation).map((one) => {
      const text = comment(one.description, '    ');
      return `${text}    ${one.name}${one.required ? '' : '?'}: ${typeOf(one.schema, '    ')};\n`;
    });
    if (operation.requestBody) {
      const schema = operation.requestBody.content['application/json']?.schema;
      const optional = operation.requestBody.required ? '' : '?';
      given.push(`    body${optional}: ${schema ? typeOf(schema, '    ') : 'Blob'};\n`);
    }
    const [type, content] = answered(operation) ?? [];
    const result =
      type === undefined ? 'void' : type === 'application/json' ? typeOf(content.schema ?? {}, '  ') : 'string';
    const argument = given.length > 0 ? `given${needed(operation) ? '' : '?'}: {\n${given.join('')}  }` : '';
    return `${comment(operation.summary, '  ')}  ${camel(operation.operationId)}(${argument}): Promise<${result}>;\n`;
  });
  return `/** The server refused: its problem says why, and which field is wrong. */
export class Refusal extends Error {
  readonly status: number;
  readonly problem: Problem;
}

/** One function for each operation. */
export interface Client {
${methods.join('\n')}}

/** A client of the server at \`url\` with an API key. Each of its functions throws \`Refusal\` when the server refuses. */
export function createClient(options: { url: string; key: string; fetch?: typeof fetch }): Client;
`;
}
