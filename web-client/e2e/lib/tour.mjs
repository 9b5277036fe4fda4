// Every page of the console, and who opens it: for tests that look at all of them, and for pictures.

/**
 * `desks`: `nobody`, `supervisor`, `auditor`, `administrator`, `staff` of the platform; `things`: `session` that is under review, `learner`,
 * `platform`, `policy` (a pack's label), `token` of an appeal's link.
 */
export function tour(desks, { session, learner, platform, policy, token }) {
  const { nobody, supervisor, auditor, administrator, staff } = desks;
  return [
    ['login', nobody, '/'],
    ['queue', supervisor, '/queue'],
    ['queue-appeals', supervisor, '/queue?tab=appeals'],
    ['queue-decided', supervisor, '/queue?tab=decided'],
    ['queue-nothing-found', supervisor, '/queue?learner=nobody'],
    ['session', supervisor, `/sessions/${session}`],
    ['session-read-only', auditor, `/sessions/${session}`],
    ['queue-staff', staff, '/queue'],
    ['session-staff', staff, `/sessions/${session}`],
    ['print', supervisor, `/sessions/${session}/print`],
    ['live', supervisor, '/live'],
    ['findings', supervisor, '/findings'],
    ['platforms', supervisor, '/platforms'],
    ['platform', supervisor, `/platforms/${platform}`],
    ['policies', supervisor, '/policies'],
    ['policy', supervisor, `/policies/${encodeURIComponent(policy)}`],
    ['learner', supervisor, `/learners/${learner}`],
    ['learner-administrator', administrator, `/learners/${learner}`],
    ['account', supervisor, '/account'],
    ['accounts', administrator, '/accounts'],
    ['access-log', auditor, '/access-log'],
    ['appeal', nobody, `/appeal#${token}`],
    ['appeal-over', nobody, '/appeal#over'],
    ['not-found', supervisor, '/nothing/here'],
    ['no-such-session', supervisor, '/sessions/00000000-0000-7000-8000-000000000000'],
    ['no-right', supervisor, '/accounts'],
  ];
}
