/** How it looks. Colours, radius and font are custom properties, so that a page can set them on `invigil-prompt`. */

const CSS = `
:host{all:initial;display:block;font:15px/1.55 var(--invigil-font,system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif);
--t:var(--invigil-text,#1c2530);--s:var(--invigil-surface,#fff);--a:var(--invigil-accent,#1457a8);--o:var(--invigil-on-accent,#fff);
--d:var(--invigil-danger,#a4262c);--m:var(--invigil-muted,#5a6673);--l:var(--invigil-line,#c9d1da);--r:var(--invigil-radius,10px);color:var(--t)}
*{box-sizing:border-box;margin:0}
[hidden]{display:none!important}
.corner{position:fixed;z-index:var(--invigil-z,2147483000);inset:auto 16px 16px auto;display:flex;flex-direction:column;gap:8px;align-items:flex-end;max-width:min(360px,calc(100vw - 32px));pointer-events:none}
.corner>*{pointer-events:auto}
.pill,.toast,.panel,.preview{background:var(--s);color:var(--t);border:1px solid var(--l);border-radius:var(--r);box-shadow:0 2px 12px rgb(0 0 0/.16)}
.pill{display:flex;align-items:center;gap:8px;padding:4px 6px 4px 12px;font-size:13px;border-radius:999px}
.dot{width:8px;height:8px;border-radius:50%;background:#2e8b57}
.pill.held .dot{background:#c77700}.pill.off .dot{background:var(--d)}
.toast{padding:10px 14px}.toast:empty{display:none}.toast.bad{border-color:var(--d);border-inline-start-width:4px}
.preview{width:128px;aspect-ratio:4/3;object-fit:cover;transform:scaleX(-1);padding:0;overflow:hidden}
.veil{position:fixed;z-index:calc(var(--invigil-z,2147483000) + 1);inset:0;display:grid;place-items:center;padding:16px;background:rgb(10 16 24/.62);overflow:auto}
.panel{width:min(520px,100%);padding:22px 24px;display:grid;gap:14px}
h2{font-size:18px;line-height:1.4}
p{white-space:pre-line}
.left{color:var(--m);font-variant-numeric:tabular-nums}
.choices{display:grid;gap:8px}
button{font:inherit;color:var(--t);background:transparent;border:1px solid var(--l);border-radius:calc(var(--r) - 2px);padding:10px 16px;min-height:44px;cursor:pointer;text-align:start}
button:hover{border-color:var(--a)}
button.main{background:var(--a);border-color:var(--a);color:var(--o);text-align:center}
.pill button{min-height:28px;padding:2px 10px;border-radius:999px;font-size:13px}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}
h2:focus{outline:none}
.row{display:flex;flex-wrap:wrap;gap:10px;align-items:end}
input{font:inherit;color:inherit;background:transparent;border:1px solid var(--m);border-radius:calc(var(--r) - 2px);padding:9px 12px;min-height:44px;width:10em}
label{display:grid;gap:6px}
canvas{max-width:100%;background:#fff;border-radius:6px;justify-self:start}
.act{display:grid;grid-template-columns:auto 1fr;gap:20px;align-items:center}
svg{width:132px;height:132px}
.head{fill:#f0d9c4;stroke:var(--t);stroke-width:2.5}.mark{fill:var(--t)}.nose{fill:none;stroke:var(--t);stroke-width:2.5;stroke-linecap:round}
.arrow{fill:none;stroke:var(--a);stroke-width:5;stroke-linecap:round;stroke-linejoin:round}
.turn_left .face{animation:left 2.4s ease-in-out infinite}.turn_right .face{animation:right 2.4s ease-in-out infinite}
.look_up .face{animation:up 2.4s ease-in-out infinite}.look_down .face{animation:down 2.4s ease-in-out infinite}
.blink_twice .eyes{transform-origin:60px 52px;animation:blink 2.4s linear infinite}
@keyframes left{50%{transform:translateX(-15px)}}@keyframes right{50%{transform:translateX(15px)}}
@keyframes up{50%{transform:translateY(-14px)}}@keyframes down{50%{transform:translateY(14px)}}
@keyframes blink{0%,12%,28%,44%,100%{transform:none}20%,36%{transform:scaleY(.08)}}
@media (prefers-reduced-motion:reduce){.face,.eyes{animation:none!important}
.turn_left .face{transform:translateX(-15px)}.turn_right .face{transform:translateX(15px)}.look_up .face{transform:translateY(-14px)}.look_down .face{transform:translateY(14px)}}
@media (forced-colors:active){.pill,.toast,.panel,button,input{border:1px solid}}
`;

let sheet: CSSStyleSheet | null = null;

/** A sheet that a strict content security policy lets through, because no text of it is in the page. */
export function adopt(root: ShadowRoot): void {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  root.adoptedStyleSheets = [sheet];
}
