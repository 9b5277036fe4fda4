// What learners do before a supervisor comes in: sessions that are really held.

/** Learns to the end; what comes of it is for a supervisor where the camera is a program. */
export async function learns(stage) {
  const visit = await stage.page();
  await visit.begin();
  const [{ verdict }] = await Promise.all([visit.ends(), visit.answerAll()]);
  await visit.page.close();
  return verdict;
}

/** Somebody else sits there for a learner, until the server says so. */
export async function isSatFor(stage) {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await visit.hears('warning', { source: 'server', code: 'face_liveness' });
  const { verdict } = await visit.stop();
  await answering;
  await visit.page.close();
  return verdict;
}
