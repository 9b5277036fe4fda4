/**
 * What the learner reads, in both languages. Each text can be replaced by its key (option `texts`). `{…}` is filled in.
 */

/** Chinese, which most read. */
export const ZH = {
  consent_title: '开始学习前请阅读',
  consent_what:
    '为证明是您本人在学习，本次学习会记录：视频播放的进度和速度；本页面是否可见、是否打开了其他学习窗口；学习中提问的回答；摄像头在随机时刻拍摄的照片（不录像、不录音）。',
  consent_why: '用途：按职业技能培训的监管要求核实学时，不作他用。',
  consent_how_long: '保存期限：照片和记录按培训档案的规定保存，到期删除。',
  consent_who: '谁能看到：培训平台、负责审核的人力资源社会保障部门。结果有疑问时，您可以向培训平台申诉。',
  consent_agree: '同意，打开摄像头并开始',
  consent_agree_plain: '同意并开始',
  consent_decline: '不同意',
  recording: '学习记录中',
  paused: '已暂停',
  connecting: '正在连接…',
  photo_now: '正在拍照，请正对摄像头',
  show_preview: '显示摄像头画面',
  hide_preview: '隐藏摄像头画面',
  preview: '摄像头画面',
  prompt_title: '请回答',
  prompt_left: '还剩 {seconds} 秒',
  sum_label: '计算结果（数字）',
  sum_picture: '图中是一道加减算式；看不清可放大页面',
  submit: '提交',
  passed: '回答正确',
  failed: '回答错误，请注意下一道题',
  expired: '没有按时回答',
  challenge_title: '请看摄像头，并照着做',
  turn_left: '慢慢向左转头，再转回正面',
  turn_right: '慢慢向右转头，再转回正面',
  look_up: '慢慢抬头，再回到正面',
  look_down: '慢慢低头，再回到正面',
  blink_twice: '眨两次眼',
  ready: '我在，继续学习',
  camera_on: '打开摄像头',
  hold_prompt: '需要先回答一道题，视频才会继续。',
  hold_wrong_answers: '连续答错次数较多，需要答对一道题，视频才会继续。',
  hold_capture: '需要先拍到您的脸，视频才会继续。',
  hold_quota: '本项目的线上学时已学满，本次学习即将结束。',
  hold_unanswered: '刚才的提问没有按时回答，视频已暂停。',
  hold_camera: '没有摄像头画面，视频已暂停。',
  hold_windows: '您在另一个窗口中学习。请关闭其他学习窗口，视频会自动继续。',
  hold_connection: '网络已断开，正在重新连接。恢复后视频会自动继续，已学的内容不会丢失。',
  camera_blocked: '浏览器阻止了摄像头。请点击地址栏左侧的图标，允许本网站使用摄像头，然后重试。',
  camera_dismissed: '请在浏览器询问时选择“允许”使用摄像头。',
  camera_in_use: '摄像头正被其他程序使用。请关闭视频会议等程序后重试。',
  camera_none: '没有找到摄像头。请连接摄像头后重试。',
  camera_insecure: '本页面不能使用摄像头（没有 HTTPS，或外层页面没有允许）。请联系培训平台。',
  camera_webview: '当前应用的内置浏览器不支持摄像头。请点击右上角菜单，选择“在浏览器中打开”。',
  camera_unsupported: '浏览器版本过旧，不支持摄像头。请更换或升级浏览器。',
  camera_taken_away: '摄像头已断开。请重新连接后重试。',
  camera_interrupted: '摄像头被系统暂停（例如来电），结束后会自动恢复。',
  camera_no_frames: '摄像头没有画面。请检查镜头盖，或重新连接摄像头。',
  warn_seek_ahead: '只能在已经学过的部分内跳转。',
  warn_rate: '请用正常速度学习，已恢复为 1 倍速。',
  warn_unfocused: '请回到学习页面：长时间操作其他窗口会被记录。',
  warn_play_blocked: '请点击播放按钮继续学习。',
  rule_fast_forward: '检测到快进播放，已记录。',
  rule_multi_window: '检测到多窗口学习，请关闭其他学习窗口。',
  rule_prompt_gap: '超过规定时间没有回答提问，已记录。',
  rule_face_liveness: '多次未能核实是您本人，已记录。请正对摄像头。',
  rule_unfocused: '长时间离开学习页面，已记录。',
  rule_client_tamper: '检测到网页被改动（例如浏览器插件）。请停用后刷新页面。',
  rule_other: '有一项情况已被记录，可能影响学时。',
  photo_no_face: '没有拍到您的脸，请正对摄像头。',
  photo_multiple_faces: '摄像头前只能有您一人，全程如此。',
  photo_mismatch: '照片与登记的照片不一致，请正对摄像头、不要遮挡面部。',
  photo_spoof: '请本人面对摄像头，不要使用照片或屏幕。',
  photo_unusable: '照片不清楚，请正对摄像头并调整光线。',
  photo_reload: '页面没能正常拍照，请刷新页面。',
  photo_burst: '照片没有按要求连续拍摄。请保持本页面在最前面，并关闭占用电脑的程序。',
  photo_picture: '摄像头画面静止、重复或跳动。请使用正常的摄像头，并保持稳定。',
  photo_light: '光线太暗、太强或逆光，请面向柔和的光源。',
  photo_too_small: '离摄像头太远，请靠近一些。',
  photo_level: '请坐正，头部和摄像头不要倾斜。',
  photo_cut_off: '请让整张脸都在画面里。',
  photo_blurred: '照片模糊，请保持不动，并擦净镜头。',
  photo_covered: '请正对摄像头，不要遮挡面部。',
  photo_challenge_not_done: '没有完成动作。请从正视前方开始，做完后再回到正视前方。',
  photo_repeated: '请重新拍照：这张照片以前出现过。',
  ended: '本次学习已结束。',
  ended_superseded: '本次学习已在另一个窗口中继续。',
  ended_refused: '无法继续本次学习，请刷新页面或联系培训平台。',
};

export type Texts = Record<keyof typeof ZH, string>;

/** Advice about photos (docs/protocol.md, section 6) that is told in the words of another. */
const SAME: Record<string, string> = {
  not_a_photo: 'reload',
  truncated: 'reload',
  broken: 'reload',
  too_many_pixels: 'reload',
  too_large: 'reload',
  bad_burst: 'burst',
  too_few_frames: 'burst',
  too_many_frames: 'burst',
  frame_times: 'burst',
  frozen: 'picture',
  looped: 'picture',
  jumped: 'picture',
  too_dark: 'light',
  too_bright: 'light',
  backlit: 'light',
  rolled: 'level',
  upside_down: 'level',
  turned_away: 'covered',
  same_picture: 'repeated',
  person_changed: 'multiple_faces',
  expired: 'no_face',
};

/** The key of what is said of a photo with this advice; of one that is unknown, by its outcome. */
export function photoKey(advice: string, outcome: string, texts: Texts): keyof Texts | null {
  const known = [advice, outcome].map((word) => `photo_${SAME[word] ?? word}`).find((key) => key in texts);
  return (known as keyof Texts | undefined) ?? null;
}

export type Language = 'zh-CN' | 'en';

export function language(wanted: string | undefined): Language {
  const tag = wanted ?? navigator.language;
  return tag.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
}

/** The texts of a language, some of them replaced. English is loaded when somebody reads it. */
export async function textsOf(tag: Language, replaced: Record<string, string> = {}): Promise<Texts> {
  return { ...(tag === 'en' ? (await import('./en.js')).EN : ZH), ...replaced };
}
