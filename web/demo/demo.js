// Makes the demo's page live: forms without reload, mails as they arrive, clocks that run.
// Without it everything works by forms and links.
"use strict";

(() => {
  const SOON = 400, LATER = 2000; // milliseconds between two looks
  // What the page says in seconds was true when that part of it came.
  const came = new WeakMap();
  let timer = 0;

  const main = () => document.getElementById("main");
  const say = (text) => { document.getElementById("say").textContent = text; };
  const read = (html) => new DOMParser().parseFromString(html, "text/html");

  const swap = (fresh, { focus }) => {
    document.title = fresh.title;
    const next = fresh.getElementById("main");
    main().replaceWith(next);
    tick();
    say(next.dataset.say || "");
    if (focus) (next.querySelector("[data-focus]") || next.querySelector("[autofocus]"))?.focus();
  };

  // Only what changed is replaced, so that nobody loses what they type or have opened.
  const refresh = (fresh) => {
    const next = fresh.getElementById("main");
    if (next.dataset.state !== main().dataset.state) {
      swap(fresh, { focus: false });
      say(fresh.querySelector("h1").textContent);
      return;
    }
    const mails = document.querySelectorAll(".mail").length;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      const hold = part.contains(document.activeElement) && part.id !== "inbox";
      if (other && !hold && other.textContent !== part.textContent) part.replaceWith(other);
    }
    main().dataset.version = next.dataset.version;
    tick();
    if (document.querySelectorAll(".mail").length > mails) say("A mail has arrived.");
  };

  const look = async () => {
    const path = main().dataset.look;
    if (!path || document.hidden) return;
    try {
      const answer = await fetch(path);
      if (!answer.ok) return;
      const { version } = await answer.json();
      if (path === main().dataset.look && version !== main().dataset.version) {
        const page = await fetch(location.href);
        if (page.ok) refresh(read(await page.text()));
      }
    } catch { /* The demo was stopped, or the line is down: look again later. */ }
  };

  const plan = () => {
    clearTimeout(timer);
    const wait = document.querySelector(".mail") ? LATER : SOON;
    timer = setTimeout(async () => { await look(); plan(); }, wait);
  };

  const send = async (event) => {
    const form = event.target;
    if (!form.matches("form[data-swap]")) return;
    event.preventDefault();
    if (form.classList.contains("busy")) return;
    form.classList.add("busy");
    try {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      const fresh = read(await answer.text());
      if (!fresh.getElementById("main")) throw new Error("no page");
      if (answer.redirected && answer.url !== location.href) history.pushState(null, "", answer.url);
      swap(fresh, { focus: true });
      plan();
    } catch {
      say("The demo does not answer.");
      form.classList.remove("busy");
    }
  };

  const left = (element, seconds) => {
    if (!came.has(element)) came.set(element, performance.now());
    return Math.max(0, seconds - Math.floor((performance.now() - came.get(element)) / 1000));
  };

  const tick = () => {
    for (const clock of document.querySelectorAll("[data-clock]")) {
      const rest = left(clock, clock.dataset.clock);
      clock.textContent = `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")}`;
    }
    for (const button of document.querySelectorAll("[data-wait]")) {
      const rest = left(button, button.dataset.wait);
      button.disabled = rest > 0;
      const hint = button.querySelector("[data-hint]");
      if (hint) hint.textContent = rest > 0 ? `(${rest} s)` : "";
    }
  };

  addEventListener("submit", send);
  addEventListener("popstate", () => location.reload());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  setInterval(tick, 1000);
  tick();
  plan();
})();
