// The widget of otpsvc: one challenge's page, in a dialog or inside an element of yours.
//
//   <script id="otpgateway-script" src="https://otp.example/static/otp.js"></script>
//   OTPGateway(namespace, id, onFinish, onCancel)
//   OTPGateway({namespace, id, url, container, theme, locale, onFinish, onCancel})
//
// Both return a promise of {namespace, id, receipt}, or of null when cancelled: see otp.d.ts.
// Syntax of 2019; without <dialog> (browsers before 2022) a plain element takes its place.
(function (page) {
  "use strict";

  const PATIENCE = 20, AFTER_LOAD = 5; // seconds that the page may take to say "ready"
  const LOWEST = 120, HIGHEST = 2000; // pixels: the height follows the page between these

  const WORDS = { // title, close, loading, failed
    en: ["Verification", "Close", "Loading…", "This page could not be loaded. Please close it and try again."],
    id: ["Verifikasi", "Tutup", "Memuat…", "Halaman ini tidak dapat dimuat. Tutup, lalu coba lagi."],
    de: ["Bestätigung", "Schließen", "Wird geladen…", "Diese Seite lässt sich nicht laden. Bitte schließen und neu versuchen."],
    es: ["Verificación", "Cerrar", "Cargando…", "No se pudo cargar esta página. Ciérrala e inténtalo de nuevo."],
    ar: ["التحقق", "إغلاق", "جارٍ التحميل…", "تعذّر تحميل هذه الصفحة. يُرجى إغلاقها والمحاولة مرة أخرى."],
  };

  // Sizes in em, for the rem is the host page's.
  const STYLE = `
:host { all: initial !important; display: block !important; width: 100% !important }
:host([data-otpsvc=dialog]) { position: fixed !important }
* { box-sizing: border-box }
dialog, .stage { background: var(--paper); color: inherit; border-radius: 1em; overflow: hidden }
.box {
  --paper: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #d5d9e0; --accent: #1a5fd0; color-scheme: light;
  color: var(--ink); font: 1em/1.5 system-ui, sans-serif;
}
dialog {
  position: fixed; inset: 0; margin: auto; padding: 0; z-index: 2147483647;
  width: calc(27em + 2px); max-width: calc(100% - 2em); height: fit-content; max-height: calc(100% - 2em);
  border: 1px solid var(--line); box-shadow: 0 1em 4em #0005;
}
dialog[open] { display: flex; flex-direction: column }
dialog::backdrop { background: #0a0e1499 }
dialog[role] { box-shadow: 0 0 0 200vmax #0a0e1499 }
#head { display: flex; align-items: center; padding: .25em; padding-inline-start: 1.25em }
h2 { flex: 1; margin: 0; color: var(--quiet); font-size: .875em; outline: 0 }
button {
  min-height: 2.75em; padding: 0 1.25em; border: 1px solid; border-radius: .625em;
  background: none; color: inherit; font: inherit; cursor: pointer;
}
button:focus-visible { outline: 3px solid var(--accent); outline-offset: -2px }
.cross { width: 1.75em; min-height: 1.75em; padding: 0; border: 0; font-size: 1.625em; line-height: 1 }
.stage { position: relative; height: var(--height, 22em) }
.box > .stage {
  height: calc(var(--height, 22em) + 2em + 2px); max-width: 27em; padding-block: 1em; border: 1px solid var(--line);
}
iframe { display: block; width: 100%; height: 100%; border: 0 }
.loading iframe, .failed iframe { visibility: hidden }
.note {
  position: absolute; inset: 0; display: flex; flex-direction: column; align-items: center;
  justify-content: center; gap: 1em; padding: 1.25em; text-align: center; text-wrap: balance;
}
.ready .note, .loading .note button { display: none }
p { margin: 0 }
.loading .note::before {
  content: ""; width: 2em; height: 2em; border: 3px solid var(--line); border-top-color: var(--quiet); border-radius: 50%;
}
@media screen and (max-width: 30em), screen and (max-height: 26em) {
  dialog { width: 100%; max-width: none; height: 100%; max-height: none; border: 0; border-radius: 0 }
  #head { padding-top: max(.25em, env(safe-area-inset-top)) }
  dialog .stage { flex: 1 }
}
@media (prefers-reduced-motion: no-preference) {
  dialog { animation: come .2s }
  dialog .stage { transition: height .2s }
  .loading .note::before { animation: turn 1s linear infinite }
}
@keyframes come { from { opacity: 0; transform: translateY(.75em) } }
@keyframes turn { to { transform: rotate(1turn) } }
@media print { dialog { position: absolute; bottom: auto; max-height: none } }
`;
  const DARK = `.box {
  --paper: #1e2127; --ink: #e8eaed; --quiet: #a7afba; --line: #363b45; --accent: #7fb0ff; color-scheme: dark;
}`;
  const THEMES = { light: "", dark: DARK, auto: "@media (prefers-color-scheme: dark){" + DARK + "}" };

  const need = (fine, sentence) => { if (!fine) throw new TypeError("OTPGateway: " + sentence); };
  const attempt = (task) => { try { return task(); } catch (_) { return null; } };

  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    Object.keys(attributes).forEach((key) => element.setAttribute(key, attributes[key]));
    element.append(...children);
    return element;
  }

  // A constructed sheet needs no 'unsafe-inline' of the host page. Returns how to take it off.
  function dress(root, css) {
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(css);
      root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
      return () => { root.adoptedStyleSheets = [...root.adoptedStyleSheets].filter((one) => one !== sheet); };
    } catch (_) { // Safari before 16.4
      const style = make("style", {}, css);
      (root.head || root).append(style);
      return () => style.remove();
    }
  }

  function words(locale) {
    const asked = [locale, document.documentElement.lang, navigator.language, "en"];
    const codes = asked.map((tag) => String(tag).toLowerCase().split(/[-_]/)[0]);
    const lang = codes.find((code) => Object.keys(WORDS).includes(code));
    return [lang, WORDS[lang]];
  }

  const TYPES = { namespace: "string", id: "string", url: "string", locale: "string", onFinish: "function", onCancel: "function" };

  // The options of a call, checked; the container's selector is looked up.
  function read(first, id, onFinish, onCancel) {
    const given = typeof first === "object" ? first : { namespace: first, id, onFinish, onCancel };
    const options = Object.assign({}, given);
    Object.keys(TYPES).forEach((key) => {
      const needed = key === "namespace" || key === "id";
      need(options[key] ? typeof options[key] === TYPES[key] : !needed, "`" + key + "` should be a " + TYPES[key] + ".");
    });
    options.theme = options.theme || "auto";
    need(Object.keys(THEMES).includes(options.theme), "`theme` should be light, dark or auto.");
    if (options.container) options.container = place(options.container);
    return options;
  }

  function place(container) {
    const element = typeof container === "string" ? attempt(() => document.querySelector(container)) : container;
    need(element && element.nodeType === 1, "`container` should be an element of the page, or its selector.");
    return element;
  }

  // The page's address. No sentence quotes it: it holds a token.
  function address(root, { namespace, id, url, theme, locale }) {
    need(url || root, "give `url`, or give the script element the id otpgateway-script.");
    const own = () => [root, "otp"].concat([namespace, id].map(encodeURIComponent)).join("/") + "?view=popup";
    const at = attempt(() => new URL(url || own()));
    need(at && /^https?:$/.test(at.protocol), "`url` should be an absolute http(s) address, as the create answered it.");
    // Also a namespace such as "..", which would lead elsewhere.
    const path = attempt(() => at.pathname.split("/").map(decodeURIComponent)) || [];
    need(path.pop() === id && path.pop() === namespace, "`url` should be the page of this namespace and id.");
    if (theme !== "auto") at.searchParams.set("theme", theme);
    if (locale) at.searchParams.set("lang", locale);
    return at;
  }

  // The frame, and what is seen in its place until it is ready.
  function stageOf(src, [title, close, loading, failed], stop) {
    // `allow` without a list: for the origin of src only, wherever the frame moves.
    const frame = make("iframe", { src, title, allow: "otp-credentials", referrerpolicy: "no-referrer" });
    const line = make("p", { role: "status" });
    const button = make("button", { type: "button" }, close);
    button.addEventListener("click", stop);
    const stage = make("div", {}, frame, make("div", { class: "note" }, line, button));
    const become = (state) => {
      stage.className = "stage " + state;
      line.textContent = state === "failed" ? failed : loading;
    };
    become("loading");
    return { stage, frame, become };
  }

  // The page behind neither scrolls nor shifts: its scroll bar keeps its room.
  function lock() {
    const html = document.documentElement;
    const left = window.scrollX, top = window.scrollY;
    // The viewport takes the body's overflow where <html> has none.
    const scroller = getComputedStyle(html).overflowY === "visible" ? "body" : ":root";
    const gutter = window.innerWidth > html.clientWidth ? ":root{scrollbar-gutter:stable}" : "";
    const release = dress(document, "@media screen{" + scroller + "{overflow:hidden!important}" + gutter + "}");
    return () => { release(); window.scrollTo({ left, top, behavior: "instant" }); };
  }

  function dialogOf(stage, [name, close], stop) {
    const title = make("h2", { id: "title", tabindex: "-1" }, name);
    const cross = make("button", { type: "button", class: "cross", "aria-label": close }, "×");
    const dialog = make("dialog", { "aria-labelledby": "title" }, make("div", { id: "head" }, title, cross), stage);
    let pressed;
    cross.addEventListener("click", stop);
    ["cancel", "close"].forEach((type) => dialog.addEventListener(type, stop));
    // The dialog itself is its backdrop. A press that began inside does not count.
    dialog.addEventListener("pointerdown", (event) => { pressed = event.target; });
    dialog.addEventListener("click", (event) => { if (event.target === dialog && pressed === dialog) stop(); });
    return { dialog, title };
  }

  // Shows the dialog. Returns how to close it.
  function show(host, { dialog, title }, stop) {
    const before = document.activeElement;
    (document.body || document.documentElement).append(host);
    if (dialog.showModal) {
      dialog.showModal();
    } else {
      ["open", "role", "aria-modal"].forEach((key) => dialog.setAttribute(key, key === "role" ? "dialog" : "true"));
      dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
    }
    const unlock = lock();
    title.focus(); // not the cross: a second press of Enter would close at once
    return () => {
      if (dialog.close) dialog.close();
      host.remove();
      unlock();
      if (before && before.focus) before.focus({ preventScroll: true });
    };
  }

  // Puts the widget into the page; every way out of it calls `stop`.
  function open({ container, theme, locale }, src, stop) {
    const [lang, texts] = words(locale);
    const { stage, frame, become } = stageOf(src, texts, stop);
    const modal = container ? null : dialogOf(stage, texts, stop);
    const host = make("div", { "data-otpsvc": modal ? "dialog" : "inline" });
    const root = host.attachShadow({ mode: "open" });
    root.append(make("div", { class: "box", lang, dir: lang === "ar" ? "rtl" : "ltr" }, modal ? modal.dialog : stage));
    dress(root, STYLE + THEMES[theme]);
    if (container) container.append(host);
    const close = modal ? show(host, modal, stop) : () => host.remove();
    const enter = () => { if (modal && root.activeElement === modal.title) frame.focus(); }; // unless somebody moved on
    const resize = (height) => {
      stage.style.setProperty("--height", Math.ceil(Math.min(Math.max(height, LOWEST), HIGHEST)) + "px");
    };
    return { frame, become, enter, resize, close };
  }

  // What a callback throws is reported, and stops nothing here.
  function call(back, ...values) {
    try { if (back) back(...values); } catch (error) { setTimeout(() => { throw error; }); }
  }

  // Only the page is heard: its window, its origin, its challenge.
  function ear(frame, origin, { namespace, id }, end, heed) {
    return (event) => {
      const { source, data } = event;
      if (!source || source !== frame.contentWindow || event.origin !== origin) return;
      if (typeof data !== "object" || !data) return;
      if (data.namespace === namespace && data.id === id) {
        end({ namespace, id, receipt: typeof data.receipt === "string" ? data.receipt : "" });
      } else if (data.of === namespace + "/" + id) {
        heed(data);
      }
    };
  }

  function run(root, ...given) {
    const options = read(...given);
    const src = address(root, options);
    let done, timer, over = false, ready = false;
    const promise = new Promise((resolve) => { done = resolve; });

    const end = (answer) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      window.removeEventListener("message", hear);
      view.close();
      done(answer);
      if (answer) call(options.onFinish, answer.namespace, answer.id, answer.receipt);
      else call(options.onCancel);
    };
    const stop = () => end(null);
    const wait = (seconds) => {
      clearTimeout(timer);
      if (!ready && !over) timer = setTimeout(view.become, seconds * 1000, "failed");
    };
    const heed = ({ otpsvc, height }) => {
      if (otpsvc === "cancel") return stop();
      if (typeof height === "number" && height > 0) view.resize(height);
      if (otpsvc !== "ready" || ready) return;
      ready = true;
      clearTimeout(timer);
      view.become("ready");
      view.enter();
    };

    const view = open(options, src.href, stop);
    const hear = ear(view.frame, src.origin, options, end, heed);
    window.addEventListener("message", hear);
    wait(PATIENCE);
    view.frame.addEventListener("load", () => wait(AFTER_LOAD));
    promise.cancel = stop;
    return promise;
  }

  // The function of a file from there; what stands before /static/ is the root.
  function from(script) {
    const [, origin, path] = /^(https?:\/\/[^/]+)([^?#]*)/.exec(script) || [];
    const root = origin && origin + path.slice(0, Math.max(0, path.lastIndexOf("/static/")));
    return function OTPGateway(...given) { return run(root, ...given); };
  }

  // For otp.mjs. A module defines nothing more, and so replaces no script's OTPGateway.
  window[Symbol.for("otpsvc.widget")] = from;
  if (!page) return;
  const named = document.getElementById("otpgateway-script");
  const script = named && named.src ? named : document.currentScript;
  page.OTPGateway = from(script && script.src);
})(this);
