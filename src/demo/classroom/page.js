// The course page of the classroom: what a platform would write. Everything it asks goes to the platform's own back end.
const TEXTS = {
  'zh-CN': {
    title: '试用课堂', enrol: '一、登记照片', learn: '二、学习', verdict: '三、结论', openCamera: '打开摄像头', take: '拍照登记',
    enrolWhy: '请正对摄像头，光线充足。照片只保存在本机的临时目录里，演示结束即删除。', begin: '开始学习', leave: '结束学习',
    learnHow: '课程长三分钟：期间会拍照核验、弹出提问。可以试试快进、切换窗口、遮住摄像头、让别人坐到镜头前。', again: '再试一次',
    whole: '完整结论', noSdk: '服务器没有网页 SDK：请先运行 make sdk 再启动演示。', noFilm: '没有课程视频：请先运行 make models。',
    valid: '有效', invalid: '无效', review: '待人工复核', open: '未结束', credited: '计入学时', watched: '已观看', rule: '违规',
    none: '无', seconds: '秒', prompted: '提问', answered: '提问结束', captured: '拍照', checked: '核验', warned: '提醒', held: '暂停',
    going: '继续', enrolled: '已登记。',
  },
  en: {
    title: 'Try it', enrol: '1. Your photo', learn: '2. Learn', verdict: '3. Verdict', openCamera: 'Open the camera', take: 'Take the photo',
    enrolWhy: 'Face the camera, in good light. The photo stays in a temporary folder of this machine and is deleted when the demo ends.',
    begin: 'Begin', leave: 'End the session', again: 'Again', whole: 'The whole verdict',
    learnHow: 'The lesson takes three minutes. Photos are taken, questions asked. Try to skip ahead, to look at another window, to cover the camera, to let somebody else sit down.',
    noSdk: 'This server has no web SDK: run `make sdk`, then start the demo again.', noFilm: 'There is no film: run `make models`.',
    valid: 'valid', invalid: 'invalid', review: 'for a supervisor to decide', open: 'still open', credited: 'credited', watched: 'watched',
    rule: 'violation', none: 'none', seconds: 's', prompted: 'question', answered: 'question closed', captured: 'photo', checked: 'check',
    warned: 'warning', held: 'held', going: 'goes on', enrolled: 'Enrolled.',
  },
};
const $ = (id) => document.getElementById(id);
let locale = navigator.language.startsWith('zh') ? 'zh-CN' : 'en';
const t = (key) => TEXTS[locale][key];
let learner = null;
let proctor = null;

function speak() {
  document.documentElement.lang = locale;
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = t(element.dataset.text);
  $('language').textContent = locale === 'en' ? '中文' : 'English';
  $('language').lang = locale === 'en' ? 'zh-CN' : 'en';
}

function complain(error) {
  $('problem').textContent = error instanceof Error ? error.message : String(error);
  $('problem').hidden = false;
}

/** What a click begins: a failure is shown, and the button can be pressed again. */
function onClick(id, work) {
  $(id).addEventListener('click', async () => {
    $('problem').hidden = true;
    $(id).disabled = true;
    await work().catch(complain);
    $(id).disabled = false;
  });
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let problem = text;
  try {
    const { title, detail } = JSON.parse(text);
    problem = [title, detail].filter(Boolean).join(': ');
  } catch {}
  throw new Error(problem);
}

const post = (path, body) => ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

// --- the photo ---------------------------------------------------------------------------------------------------

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error('navigator.mediaDevices');
  $('camera').srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  await $('camera').play();
  $('open-camera').hidden = true;
  $('take').hidden = false;
}

async function takePhoto() {
  const camera = $('camera');
  const canvas = document.createElement('canvas');
  canvas.width = camera.videoWidth;
  canvas.height = camera.videoHeight;
  canvas.getContext('2d').drawImage(camera, 0, 0);
  const photo = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.9));
  ({ learner } = await ask('learners', { method: 'POST', headers: { 'content-type': 'image/jpeg' }, body: photo }));
  for (const track of camera.srcObject.getTracks()) track.stop();
  $('enrol').hidden = true;
  $('learn').hidden = false;
}

// --- the lesson --------------------------------------------------------------------------------------------------

function tell(what, detail) {
  const line = document.createElement('li');
  line.textContent = `${what} ${detail ?? ''}`;
  $('happened').prepend(line);
}

/** The session that this page held last goes on; otherwise a new one. */
async function getToken({ reason, session }) {
  if (session) {
    const renewed = await post(`sessions/${session}/tokens`, {}).catch((error) => (reason === 'expired' ? Promise.reject(error) : null));
    if (renewed) return { session, ...renewed };
  }
  return post('sessions', { learner });
}

async function begin() {
  const { createProctor } = await import('/sdk/v1/invigil.js');
  proctor?.dispose();
  proctor = createProctor({ getToken, locale });
  proctor.on('prompt', ({ text }) => tell(t('prompted'), text));
  proctor.on('prompt.closed', ({ outcome }) => tell(t('answered'), outcome));
  proctor.on('capture', ({ reason, challenge, step }) => step === 'taking' && tell(t('captured'), challenge ?? reason));
  proctor.on('capture.closed', ({ outcome, advice }) => tell(t('checked'), [outcome, advice].filter(Boolean).join(' · ')));
  proctor.on('warning', ({ code, cause }) => tell(t('warned'), [code, cause].filter(Boolean).join(' · ')));
  proctor.on('hold', (holds) => !holds.includes('starting') && (holds.length ? tell(t('held'), holds.join(', ')) : tell(t('going'))));
  proctor.on('error', complain);
  proctor.on('ended', (ending) => showVerdict(ending).catch(complain));
  proctor.attach($('lesson'));
  await proctor.enableCamera();
  await proctor.start();
  $('begin').hidden = true;
  $('leave').hidden = false;
  await $('lesson').play();
}

async function showVerdict({ verdict }) {
  $('learn').hidden = true;
  $('verdict').hidden = false;
  if (!verdict) return;
  $('status').textContent = t(verdict.status) ?? verdict.status;
  const broken = verdict.violations.map(({ rule, cause, clause }) => [rule, cause, clause].filter(Boolean).join(' · '));
  const figures = [
    [t('credited'), `${verdict.credited_ms / 1000} ${t('seconds')}`],
    [t('watched'), `${verdict.watched_ms / 1000} ${t('seconds')}`],
    [t('rule'), broken.join('; ') || t('none')],
  ];
  $('figures').replaceChildren(
    ...figures.flatMap(([name, value]) => {
      const [term, description] = [document.createElement('dt'), document.createElement('dd')];
      term.textContent = name;
      description.textContent = value;
      return [term, description];
    }),
  );
  // What is on record, not what the page was told.
  const { session } = verdict;
  $('whole').textContent = JSON.stringify(await ask(`sessions/${session}/verdict`), null, 2);
}

speak();
$('language').addEventListener('click', () => {
  locale = locale === 'en' ? 'zh-CN' : 'en';
  speak();
});
onClick('open-camera', openCamera);
onClick('take', takePhoto);
onClick('begin', begin);
onClick('leave', () => proctor.stop());
$('lesson').addEventListener('ended', () => proctor?.stop().catch(complain));
$('again').addEventListener('click', () => location.reload());
ask('about').then(({ sdk, film }) => {
  if (!sdk) complain(t('noSdk'));
  else if (!film) complain(t('noFilm'));
}, complain);
