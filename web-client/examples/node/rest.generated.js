// Written by web-client/scripts/types.mjs from docs/openapi.json. Change that, not this.

/** The server refused: its problem says why, and which field is wrong. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? String(status));
    this.name = 'Refusal';
    this.status = status;
    this.problem = problem;
  }
}

/** Method, path and names of the query's parameters. */
const OPERATIONS = {
  allowMakeup: ["POST","/projects/{id}/makeups",[]],
  askCapture: ["POST","/sessions/{id}/capture",[]],
  askPrompt: ["POST","/sessions/{id}/prompt",[]],
  beginTotp: ["POST","/account/totp",[]],
  changeAccount: ["PUT","/accounts/{id}",[]],
  changePassword: ["PUT","/account/password",[]],
  clearWebhook: ["DELETE","/platform/webhook",[]],
  closeSession: ["POST","/sessions/{id}/close",[]],
  confirmTotp: ["PUT","/account/totp",[]],
  correctPerson: ["PUT","/learners/{id}/person",[]],
  countQueue: ["GET","/queue/counts",[]],
  createAccount: ["POST","/accounts",[]],
  createApiKey: ["POST","/platforms/{id}/keys",[]],
  createOfficeKey: ["POST","/keys",[]],
  createPlatform: ["POST","/platforms",[]],
  createProject: ["POST","/projects",[]],
  decideFinding: ["PUT","/findings/{id}/state",[]],
  decideLesson: ["PUT","/lessons/{id}/approval",[]],
  decidePlatformStatus: ["PUT","/platforms/{id}/status",[]],
  decideProject: ["PUT","/projects/{id}/approval",[]],
  decideSession: ["POST","/sessions/{id}/decisions",[]],
  endTotp: ["DELETE","/account/totp",[]],
  enrolLearner: ["POST","/projects/{id}/enrolments",[]],
  forgetLearner: ["DELETE","/learners/{id}",[]],
  issueToken: ["POST","/sessions/{id}/tokens",[]],
  ledgerSheet: ["GET","/ledger.csv",["learner","project","platform","region","from","to","status"]],
  listAccounts: ["GET","/accounts",["after","limit"]],
  listApiKeys: ["GET","/platforms/{id}/keys",["after","limit"]],
  listDecisionReasons: ["GET","/decision-reasons",[]],
  listEnrolments: ["GET","/projects/{id}/enrolments",["after","limit"]],
  listFaceSearches: ["GET","/face-searches",["after","limit"]],
  listFindings: ["GET","/findings",["kind","severity","state","platform","after","limit"]],
  listLedger: ["GET","/ledger",["learner","project","platform","region","from","to","status","after","limit"]],
  listLive: ["GET","/live",[]],
  listMakeups: ["GET","/projects/{id}/makeups",["after","limit"]],
  listOfficeKeys: ["GET","/keys",["after","limit"]],
  listPersonAccesses: ["GET","/learners/{id}/person/accesses",["after","limit"]],
  listPlatformDecisions: ["GET","/platforms/{id}/status",["after","limit"]],
  listPlatforms: ["GET","/platforms",["after","limit"]],
  listPolicies: ["GET","/policies",[]],
  listProjects: ["GET","/projects",["after","limit"]],
  listQueue: ["GET","/queue",["tab","platform","project","learner","rule","severity","after","limit"]],
  listReports: ["GET","/reports",["state","after","limit"]],
  listSessions: ["GET","/sessions",["project","learner","after","limit"]],
  logIn: ["POST","/login",[]],
  logOut: ["POST","/logout",[]],
  makeAppeal: ["POST","/appeal",[]],
  makeAppealLink: ["POST","/sessions/{id}/appeal-link",[]],
  nameLearner: ["POST","/learners",[]],
  openSession: ["POST","/sessions",[]],
  putPhoto: ["PUT","/learners/{id}/photo",[]],
  queueSheet: ["GET","/queue.csv",["tab","platform","project","learner","rule","severity","after","limit"]],
  readAccessLog: ["GET","/access-log",["account","kind","after","limit"]],
  readAppeal: ["GET","/appeal",[]],
  readAppealAttachment: ["GET","/sessions/{id}/appeals/{appeal}/attachments/{attachment}",[]],
  readAppealFrame: ["GET","/appeal/captures/{capture}/frames/{index}",[]],
  readBundle: ["GET","/sessions/{id}/bundle",[]],
  readDossier: ["GET","/sessions/{id}/dossier",[]],
  readEnrolledPhoto: ["GET","/learners/{id}/enrolled-photo",[]],
  readFinding: ["GET","/findings/{id}",[]],
  readFrame: ["GET","/sessions/{id}/captures/{capture}/frames/{index}",[]],
  readLearner: ["GET","/learners/{id}",[]],
  readLearnerOverview: ["GET","/learners/{id}/overview",[]],
  readLog: ["GET","/sessions/{id}/log",[]],
  readOrigins: ["GET","/platform/origins",[]],
  readOwnAccount: ["GET","/account",[]],
  readOwnPlatform: ["GET","/platform",[]],
  readPerson: ["GET","/learners/{id}/person",[]],
  readPlatform: ["GET","/platforms/{id}",[]],
  readPlatformFigures: ["GET","/platforms/{id}/figures",["from","to"]],
  readPolicy: ["GET","/policies/{label}",[]],
  readProject: ["GET","/projects/{id}",[]],
  readSession: ["GET","/sessions/{id}",[]],
  readVerdict: ["GET","/sessions/{id}/verdict",[]],
  renamePlatform: ["PATCH","/platforms/{id}",[]],
  resendReport: ["POST","/reports/{id}/resend",[]],
  revokeApiKey: ["DELETE","/platforms/{id}/keys/{key}",[]],
  revokeOfficeKey: ["DELETE","/keys/{id}",[]],
  searchFaces: ["POST","/face-searches",[]],
  setAssessment: ["PUT","/projects/{id}/assessment",[]],
  setOrigins: ["PUT","/platform/origins",[]],
  setWebhook: ["PUT","/platform/webhook",[]],
  sumLedger: ["GET","/ledger/totals",["by","learner","project","platform","region","from","to","status","after","limit"]],
  unlockAccount: ["POST","/accounts/{id}/unlock",[]],
  watchEvents: ["GET","/events",["since"]],
  withdrawEnrolment: ["POST","/enrolments/{id}/withdraw",[]],
};

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
