// Makes the demo's page live: forms without reload, messages as they arrive, clocks that run.
// Without it everything works by forms and links.
"use strict";

(() => {
  const SOON = 400, LATER = 1200, TOAST = 12000; // milliseconds
  // What the page says in seconds was true when that part of it came.
  const came = new WeakMap();
  let timer = 0, toast = 0;

  const main = () => document.getElementById("main");
  const say = (text) => { document.getElementById("say").textContent = text; };
  const read = (html) => new DOMParser().parseFromString(html, "text/html");
  const items = () => document.querySelectorAll("[data-item]").length;

  // A page that has just come: what only works with script, and word for the shop's own script.
  const begin = () => {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
    tick();
    document.dispatchEvent(new Event("demo:page"));
  };

  const swap = (fresh) => {
    document.title = fresh.title;
    main().replaceWith(fresh.getElementById("main"));
    begin();
    say(main().dataset.say || "");
    (main().querySelector("[autofocus]") || main().querySelector("[data-focus]"))?.focus();
  };

  // Replaces a part; what is open in it or has the focus stays so.
  const replace = (part, other) => {
    const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
    for (const one of part.querySelectorAll("details[id]")) {
      const next = other.querySelector(`#${one.id}`);
      if (next) next.open = one.open;
    }
    for (const one of other.querySelectorAll("[data-new]")) if (part.querySelector(`#${one.id || "none"}`)) delete one.dataset.new;
    part.replaceWith(other);
    if (focus) document.getElementById(focus)?.focus();
  };

  // Only what changed is replaced, and never a shop in which the widget is open.
  const refresh = (fresh) => {
    const before = items(), next = fresh.getElementById("main");
    const shop = document.getElementById("shop"), other = fresh.getElementById("shop");
    if (shop.dataset.state !== other.dataset.state && !("busy" in shop.dataset)) replace(shop, other);
    else shop.toggleAttribute("data-over", "over" in other.dataset);
    for (const part of document.querySelectorAll("[data-live]")) {
      const changed = fresh.getElementById(part.id);
      if (changed && changed.textContent !== part.textContent) replace(part, changed);
    }
    for (const name of ["version", "soon"]) {
      if (name in next.dataset) main().dataset[name] = next.dataset[name];
      else delete main().dataset[name];
    }
    begin();
    if (items() > before) {
      const text = document.querySelector("[data-item]").dataset.item;
      say(text);
      notify(text);
    }
    plan();
  };

  // A message, as phones tell of it. Shown anew, it lies above a window that was opened meanwhile.
  const notify = (text) => {
    const box = document.getElementById("toast");
    clearTimeout(toast);
    if (!box.showPopover) return;
    if (box.matches(":popover-open")) box.hidePopover();
    if (!text) return;
    box.textContent = text;
    box.showPopover();
    toast = setTimeout(notify, TOAST);
  };

  const look = async () => {
    const path = main().dataset.look;
    if (!path || document.hidden) return;
    try {
      const answer = await fetch(path);
      if (!answer.ok) return;
      const { version } = await answer.json();
      if (path !== main().dataset.look || version === main().dataset.version) return;
      const page = await fetch(location.href);
      const fresh = read(await page.text());
      if (page.ok && path === main().dataset.look) refresh(fresh);
    } catch { /* The demo was stopped, or the line is down: look again later. */ }
  };

  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => { await look(); plan(); }, "soon" in main().dataset ? SOON : LATER);
  };

  const send = async (event) => {
    const form = event.target;
    if (!form.matches("form[data-swap], form[data-part]")) return;
    event.preventDefault();
    if (form.classList.contains("busy")) return;
    form.classList.add("busy");
    try {
      const body = new URLSearchParams(new FormData(form));
      if (event.submitter?.name) body.set(event.submitter.name, event.submitter.value);
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      const fresh = read(await answer.text());
      if (!fresh.getElementById("main")) throw new Error("no page");
      if (answer.ok && form.matches("[data-part]")) {
        form.classList.remove("busy");
        refresh(fresh);
        const heard = document.getElementById(form.elements.switch ? `${form.elements.switch.value}-expect` : "aside");
        say(heard?.textContent || "");
      } else {
        if (answer.redirected && answer.url !== location.href) history.pushState(null, "", answer.url);
        swap(fresh);
      }
      plan();
    } catch {
      say("The demo does not answer.");
      form.classList.remove("busy");
    }
  };

  const click = async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    await navigator.clipboard.writeText(copy.dataset.copy);
    say("Copied.");
    copy.textContent = "Copied";
  };

  const left = (element, seconds) => {
    if (!came.has(element)) came.set(element, performance.now());
    return Math.max(0, seconds - Math.floor((performance.now() - came.get(element)) / 1000));
  };

  // As the server writes it: 4:07, 2:03:00.
  const span = (seconds) => {
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60) % 60, hours = Math.floor(seconds / 3600);
    return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  };

  const tick = () => {
    for (const clock of document.querySelectorAll("[data-clock]")) {
      const rest = left(clock, Number(clock.dataset.clock));
      if (rest < 172800) clock.textContent = span(rest);
    }
  };

  addEventListener("submit", send);
  addEventListener("click", click);
  addEventListener("popstate", () => location.reload());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  document.getElementById("toast").addEventListener("click", () => notify());
  // A window of the widget may cover the inbox.
  document.addEventListener("demo:window", ({ detail: open }) => {
    notify(open ? document.querySelector("[data-item]")?.dataset.item : "");
  });
  setInterval(tick, 1000);
  begin();
  plan();
})();
