// What a page does beyond its forms: no reload, countdowns, news of the message, and telling the site around it.
// Without this script everything works too, by plain forms and links.
// Stands in one module behind code.js. Comments have their own lines, and no string spans lines, as there.

let main, carried, composed, born, clock, next, sending, hurry, ear;
let turns = 0, failures = 0, last = Infinity, told = false;
// The code that was sent by itself, and when it was answered.
let alone = { at: -Infinity };
// Values that are not sent by themselves: sent before, or not typed by a person.
const tried = new Set();

const find = (selector) => main.querySelector(selector);
const field = () => find("#check input:not([type=hidden])");
const say = (text) => {
  const live = document.getElementById("live");
  live.textContent = live.textContent === text ? `${text}\u00a0` : text;
};
const tell = (message) => {
  if (parent === window) return;
  // To each origin that may frame us: an exact one, so nobody else hears. Some browsers say which one it is, some "null".
  const every = (main.dataset.origins || "").split(" ").filter(Boolean), [around] = location.ancestorOrigins || [];
  for (const origin of every.includes(around) ? [around] : every) parent.postMessage(message, origin);
};
const mention = (word, more) => tell({ otpsvc: word, of: `${main.dataset.namespace}/${main.dataset.id}`, ...more });

// --- times: by durations and the monotonic clock, for that of the day may be wrong ---

const tick = () => {
  const passed = performance.now() - born;
  for (const node of main.querySelectorAll("[data-down],[data-up]")) count(node, Math.floor(passed / 1000));
  clearTimeout(clock);
  clock = setTimeout(tick, 1000 - (passed % 1000));
};
const count = (node, passed) => {
  const { down, up, text, free } = node.dataset;
  const seconds = down ? Math.max(0, down - passed) : +up + passed;
  const words = !seconds && free ? free : text && text.replace("{time}", () => span(seconds, JSON.parse(main.dataset.spans)));
  if (words && words !== node.textContent) node.textContent = words;
  if (node.id === "left") run(seconds, words);
  if (node.localName === "button") hold(node, seconds, free);
};
// The life of the code: two warnings, then the server says what is next. (WCAG 2.2, 2.2.1)
const run = (seconds, words) => {
  if ([60, 20].some((mark) => seconds <= mark && last > mark) && seconds) say(words);
  if (!seconds && last) setTimeout(refresh, 1000);
  last = seconds;
};
const hold = (button, seconds, free) => {
  if (seconds) return button.setAttribute("aria-disabled", "true");
  button.removeAttribute("data-down");
  button.removeAttribute("aria-disabled");
  if (free) say(free);
};

// --- what the server says replaces what stands here, node by node: focus, selection and keyboard stay ---

const alike = (one, other) => one.nodeName === other.nodeName && one.id === other.id;
const morph = (old, fresh, kept) => {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    let same = at;
    // A node with an id is passed over only on the way to the one that is looked for.
    while (same && !alike(same, node)) same = same.id && !node.id ? null : same.nextSibling;
    if (!same) { old.insertBefore(node, at); continue; }
    while (at !== same) { at = at.nextSibling; at.previousSibling.remove(); }
    at = same.nextSibling;
    if (node.nodeType !== 1) { if (same.data !== node.data) same.data = node.data; }
    else if (same.id !== kept) morph(same, node, kept);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
};

const ask = async (query, options) => {
  const signal = AbortSignal.timeout ? AbortSignal.timeout(20000) : undefined;
  const response = await fetch(query, { credentials: "omit", cache: "no-store", signal, ...options });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("main[data-kind]");
  // A front server's own error page counts as no connection; anything else that is no page of ours is odd.
  if (!fresh && response.status < 500) throw new SyntaxError();
  if (!fresh) throw new TypeError();
  return { fresh, title: page.title, url: response.redirected && response.url };
};

const swap = ({ fresh, title, url }, sent) => {
  const { kind, message } = main.dataset, held = document.activeElement, inside = main.contains(held);
  if (url) history.replaceState(null, "", url);
  // Taken out first, so that the same error is said again.
  if (sent) clear();
  morph(main, fresh, !sent && kind === fresh.dataset.kind ? "check" : "none");
  born = performance.now();
  enter();
  const changed = main.dataset.kind !== kind, news = find("#message");
  if (sent || changed) document.title = title;
  // What was said of the page before.
  if (changed) say("");
  if (sent && field() && (changed || field().hasAttribute("aria-invalid"))) { field().focus(); field().select(); }
  else if (changed || (inside && !held.isConnected)) arrive();
  if (news && (news.className === "good" || main.dataset.message !== message)) say(news.textContent);
};
// At another page, or where the thing in focus is gone: at the heading, unless the person is elsewhere.
const arrive = () => {
  const heading = find("h1");
  heading.tabIndex = -1;
  if (document.hasFocus()) heading.focus(); else say(heading.textContent);
};

// --- sending a form ---

const rest = (seconds) => new Promise((resolve) => {
  hurry = resolve;
  addEventListener("online", resolve, { once: true });
  setTimeout(resolve, seconds * 1000);
}).then(() => { hurry = null; });

const clear = () => find("#error") && find("#error").remove();
const complain = (form, text) => {
  if (find("#error") && find("#error").textContent === text) return;
  clear();
  form.prepend(element("p", { id: "error" }, text));
  say(text);
};
const busy = (form, button, on) => {
  sending = on;
  for (const [node, name] of [[form, "aria-busy"], [button, "aria-disabled"]]) on ? node.setAttribute(name, "true") : node.removeAttribute(name);
};
// As if there were no script.
const really = (form, { name, value }) => {
  if (name) form.append(element("input", { type: "hidden", name, value }));
  // Answered here and not by a redirect: the next page shall hand the receipt over.
  form.append(element("input", { type: "hidden", name: "script", value: 1 }));
  HTMLFormElement.prototype.submit.call(form);
};

// A repeat is harmless: the form's `op` makes the server answer it as it answered the first.
const insist = async (form, button, body) => {
  for (const pause of [2, 4, 8, 15, 0]) {
    try { return await ask("?", { method: "POST", body }); } catch (error) {
      if (error instanceof SyntaxError || (failures > 4 && navigator.onLine)) return really(form, button);
      failures++;
      complain(form, main.dataset.offline);
      if (pause) await rest(pause);
    }
  }
};
const send = async (form, button) => {
  const body = new URLSearchParams(new FormData(form));
  if (button.name) body.set(button.name, button.value);
  if (field()) tried.add(plain(field().value));
  if (ear) ear.abort();
  turns++;
  busy(form, button, true);
  const answer = await insist(form, button, body);
  busy(form, button, false);
  if (alone.at === Infinity) alone.at = performance.now();
  if (!answer) return;
  failures = 0;
  // The form stays: what was typed is not lost, and can be sent again.
  if (answer.fresh.dataset.kind === "busy") return complain(form, answer.fresh.querySelector(".help").textContent);
  swap(answer, true);
};

const submitted = (event) => {
  const form = event.target, button = event.submitter || form.querySelector("button");
  event.preventDefault();
  if (hurry) return hurry();
  if (sending) return;
  if (button.dataset.down) return say(find("[data-free]").textContent);
  // Who types and presses out of habit means one attempt, which the last digit has made.
  if (form.id === "check" && plain(field().value) === alone.code && performance.now() - alone.at < 1500) return field().focus();
  // The code of a mailed link is sent by its person: a scanner's script that presses the button is none.
  if (main.dataset.kind === "link" && navigator.userActivation && !navigator.userActivation.hasBeenActive) return;
  send(form, button);
};

// --- codes that come by themselves ---

// Sent at once when a person typed, pasted or let the browser fill in all of it. Never what a link brought,
// and nothing that a script wrote: programs that look into mails run the page's script too.
// The end of a composition is not trusted in Chromium: what it leaves must have come by a trusted event.
const typed = (event) => {
  const box = event.target, { kind } = main.dataset, activation = navigator.userActivation;
  if (event.isTrusted && event.isComposing) composed = box.value;
  const ended = event.type === "compositionend" && box.value === composed;
  if (box.id !== "otp" || kind !== "code" || !(event.isTrusted || ended) || event.isComposing) return;
  if (activation && !activation.hasBeenActive) return;
  offer(box);
};
const offer = (box) => {
  const code = plain(box.value);
  if (sending || !complete(code, main.dataset) || tried.has(code)) return;
  box.form.querySelector("button").click();
  if (sending) alone = { code, at: Infinity };
};
// A whole message pasted: its code alone.
const pasted = (event) => {
  const box = event.target, text = event.clipboardData && event.clipboardData.getData("text");
  if (box.id !== "otp" || !text) return;
  const code = found(text, main.dataset);
  if (!code || complete(plain(text), main.dataset)) return;
  event.preventDefault();
  box.value = code;
  typed(event);
};

const listen = async () => {
  const { kind, address } = main.dataset;
  if (kind !== "code" || address !== "phone" || !("OTPCredential" in window) || (ear && !ear.signal.aborted)) return;
  const mine = ear = new AbortController();
  try {
    const { code } = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: mine.signal });
    if (main.dataset.kind === "code" && !sending) { field().value = code; offer(field()); }
  } catch { /* refused, not there or no longer wanted: the person types */ }
  if (ear === mine) mine.abort();
};

// The code that a link brought, out of the address bar before anybody copies that.
const take = () => {
  const { hash, search, pathname } = location, pairs = search.slice(1).split("&").filter((pair) => pair && !/^otp=/.test(pair));
  if (!/^#otp=|[?&]otp=/.test(hash + search)) return;
  if (/^#otp=/.test(hash)) try { carried = plain(decodeURIComponent(hash.slice(5))); } catch { carried = ""; }
  history.replaceState(history.state, "", pathname + (pairs.length ? `?${pairs.join("&")}` : ""));
};
// Only what could be a code: a stranger's link must not put words here.
const use = () => {
  const box = find("#otp"), place = find("#shown");
  if (box && box.value) tried.add(plain(box.value));
  if (!carried || !possible(carried, main.dataset)) return;
  tried.add(carried);
  if (box && !box.value) box.value = carried;
  if (place) place.replaceChildren(...print(carried, place.dataset));
};
const element = (name, values, ...inner) => {
  const made = document.createElement(name);
  for (const key in values) made.setAttribute(key, values[key]);
  made.append(...inner);
  return made;
};
const print = (code, { copy, copied }) => {
  const large = element("p", { class: "code", dir: "ltr", "aria-hidden": true }, ...groups(code).map((part) => element("span", {}, part)));
  // Said one by one, not as one number.
  const spoken = element("p", { class: "unseen" }, [...code].join(" "));
  const button = element("button", { type: "button", class: "plain" }, copy);
  button.onclick = () => navigator.clipboard.writeText(code).then(() => say((button.textContent = copied)));
  return navigator.clipboard ? [large, spoken, button] : [large, spoken];
};

// --- news ---

const live = () => /^(code|link|show|address|busy)$/.test(main.dataset.kind);
const refresh = async () => {
  if (sending || !live()) return plan();
  const turn = ++turns;
  try {
    const answer = await ask(`?${main.dataset.query}`);
    if (turn === turns && answer.fresh.dataset.kind !== "busy") swap(answer, false);
  } catch { /* the next time */ }
  plan();
};
const poll = async () => {
  const { query, version } = main.dataset;
  if (document.hidden || sending) return plan();
  try {
    const response = await fetch(`${location.pathname}/status?${query}`, { credentials: "omit", cache: "no-store" });
    const gone = response.status === 400 || response.status === 404;
    if (gone || (response.ok && (await response.json()).version !== version)) return refresh();
  } catch { /* the next time */ }
  plan();
};
const plan = () => {
  const { kind, message } = main.dataset;
  clearTimeout(next);
  if (kind !== "code" && kind !== "link") return;
  const pace = /^(queued|sending)$/.test(message) ? 2 : performance.now() > 180000 ? 15 : 5;
  next = setTimeout(poll, pace * 1000);
};

// After each change of the page.
const enter = () => {
  use();
  tick();
  plan();
  listen();
  const { kind, namespace, id, receipt } = main.dataset;
  if (kind === "done" && !told) { told = true; tell({ namespace, id, receipt }); }
};

const begin = () => {
  main = document.querySelector("main");
  const [visit] = performance.getEntriesByType("navigation");
  born = visit ? visit.responseStart : performance.now();
  take();
  addEventListener("submit", submitted);
  addEventListener("input", typed);
  addEventListener("compositionend", typed);
  addEventListener("paste", pasted);
  addEventListener("hashchange", () => { take(); use(); });
  addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.isComposing && !event.defaultPrevented) mention("cancel"); });
  addEventListener("visibilitychange", () => document.hidden || refresh());
  addEventListener("pagehide", () => ear && ear.abort());
  addEventListener("pageshow", (event) => { if (event.persisted) { sending = false; refresh(); } });
  if (parent !== window) frame();
  else if (find("[data-focus]") && document.activeElement === document.body) field().focus();
  enter();
};
const frame = () => {
  const page = document.documentElement;
  page.classList.add("framed");
  // The site gives the frame the focus: a field may not take it by itself, and browsers complain of one that tries.
  addEventListener("focus", () => setTimeout(() => document.activeElement === document.body && field() && field().focus()), { once: true });
  mention("ready");
  new ResizeObserver(() => mention("resize", { height: Math.ceil(page.getBoundingClientRect().height) })).observe(page);
};

begin();
