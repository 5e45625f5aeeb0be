// Every way out leaves the page as it was, and tells once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page, parts, shop } from "./dom.mjs";

const SRC = "https://otp.example/static/otp.js";
const RIGHT = { namespace: "shop", id: "user-123", receipt: "r1" };

const start = (given = {}, options = {}) => {
  const { page, OTPGateway } = shop(given);
  const button = page.add("button");
  button.focus();
  const seen = [];
  const call = { onFinish: (...got) => seen.push(["finish", ...got]), onCancel: () => seen.push("cancel"), ...options };
  const promise = OTPGateway({ namespace: "shop", id: "user-123", ...call });
  const view = parts(page.widgets[0]);
  const finish = () => page.say(RIGHT, { source: view.frame.contentWindow });
  return { page, button, seen, promise, finish, ...view };
};
const gone = ({ page, button }) => {
  assert.deepEqual([page.widgets.length, page.window.heard("message"), page.timers.size], [0, 0, 0]);
  assert.deepEqual([page.window.document.adoptedStyleSheets.length, page.head.children.length], [0, 0]);
  assert.equal(page.focused, button);
};

const WAYS = {
  "the promise's cancel": ({ promise }) => promise.cancel(),
  "the cross": ({ cross }) => cross.fire("click"),
  "Esc, or a phone's back": ({ dialog }) => dialog.fire("cancel"),
  "a dialog that something else closed": ({ dialog }) => dialog.fire("close"),
  "a click on the backdrop": ({ dialog }) => ["pointerdown", "click"].forEach((type) => dialog.fire(type)),
};
for (const [name, leave] of Object.entries(WAYS)) {
  test(`cancelled by ${name}`, async () => {
    const widget = start();
    leave(widget);
    gone(widget);
    assert.equal(await widget.promise, null);
    leave(widget);
    widget.promise.cancel();
    assert.deepEqual(widget.seen, ["cancel"]);
  });
}

test("finished: the page is as it was", async () => {
  const widget = start();
  widget.finish();
  gone(widget);
  await widget.promise;
  assert.deepEqual(widget.seen, [["finish", "shop", "user-123", "r1"]]);
});

test("clicks inside are not clicks on the backdrop", () => {
  const { dialog, title, seen } = start();
  dialog.fire("pointerdown", { target: title });
  dialog.fire("click", { target: title });
  dialog.fire("pointerdown");
  dialog.fire("click", { target: title });
  dialog.fire("pointerdown", { target: title }); // a text is selected, and the mouse let go outside
  dialog.fire("click");
  assert.deepEqual(seen, []);
});

test("the focus begins at the title, so that a second Enter does not close", () => {
  const { page, title } = start();
  assert.equal(page.focused, title);
  assert.equal(title.getAttribute("tabindex"), "-1");
});

test("whoever ends it finds it closed in the callback", () => {
  const found = [];
  const look = () => found.push(page.widgets.length, page.window.heard("message"), page.focused === button);
  const { page, button, finish } = start({}, { onFinish: look });
  finish();
  assert.deepEqual(found, [0, 0, true]);
});

// --- callbacks that throw ---

test("a callback that throws is reported, and nothing stays open", async () => {
  const fault = new Error("of the shop");
  const bad = () => { throw fault; };
  for (const end of ["finish", "cancel"]) {
    const widget = start({}, { onFinish: bad, onCancel: bad });
    if (end === "finish") widget.finish(); else widget.promise.cancel();
    assert.deepEqual(widget.page.pass(1), [fault]);
    gone(widget);
    assert.deepEqual({ ...(await widget.promise) }, end === "finish" ? RIGHT : {});
  }
});

test("without callbacks the promise tells", async () => {
  const { finish, promise } = start({}, { onFinish: undefined, onCancel: null });
  finish();
  assert.deepEqual({ ...(await promise) }, RIGHT);
});

// --- the page behind ---

const lockOf = (page) => [...page.window.document.adoptedStyleSheets].map((sheet) => sheet.css);

test("the page behind does not scroll, and the scroll bar keeps its room", () => {
  assert.deepEqual(lockOf(start().page), ["@media screen{body{overflow:hidden!important}:root{scrollbar-gutter:stable}}"]);
});

test("a page that has no scroll bar gets no room for one", () => {
  assert.deepEqual(lockOf(start({ bar: 0 }).page), ["@media screen{body{overflow:hidden!important}}"]);
});

test("where <html> itself scrolls, it is the one that stops", () => {
  assert.match(lockOf(start({ overflow: "auto" }).page)[0], /^@media screen\{:root\{overflow:hidden!important\}/);
});

test("the page is put back where it was, without gliding", () => {
  const { page, promise } = start();
  page.window.scrollY = 0; // a phone scrolled it while the keyboard was open
  promise.cancel();
  assert.deepEqual(page.scrolled, [{ left: 0, top: 340, behavior: "instant" }]);
});

test("sheets of the page's own stay", () => {
  const { page, OTPGateway } = shop();
  const [own, later] = [{}, {}];
  page.window.document.adoptedStyleSheets = [own];
  const promise = OTPGateway("shop", "user-123");
  page.window.document.adoptedStyleSheets = [...page.window.document.adoptedStyleSheets, later];
  promise.cancel();
  assert.deepEqual([...page.window.document.adoptedStyleSheets], [own, later]);
});

test("with two dialogs the page stays locked until the last is closed, in any order", () => {
  for (const order of [[0, 1], [1, 0]]) {
    const { page, OTPGateway } = shop();
    const both = [OTPGateway("shop", "user-123"), OTPGateway("shop", "user-124")];
    both[order[0]].cancel();
    assert.equal(lockOf(page).length, 1);
    both[order[1]].cancel();
    assert.equal(lockOf(page).length, 0);
  }
});

test("in a container it goes without a trace, and scrolls nothing", async () => {
  const { page, OTPGateway } = shop();
  const slot = page.add("div", { id: "slot" });
  const promise = OTPGateway({ namespace: "shop", id: "user-123", container: slot });
  promise.cancel();
  assert.deepEqual([slot.children, page.scrolled, page.window.heard("message")], [[], [], 0]);
  assert.equal(await promise, null);
});

// --- browsers before 2022 ---

test("without <dialog> an element takes its place", async () => {
  const widget = start({ old: true });
  const { dialog, page, seen } = widget;
  assert.deepEqual([dialog.getAttribute("role"), dialog.getAttribute("aria-modal")], ["dialog", "true"]);
  assert.equal(widget.root.find("style").textContent.includes(":host"), true);
  assert.equal(page.head.children.length, 1);
  dialog.fire("keydown", { key: "a" });
  assert.deepEqual(seen, []);
  dialog.fire("keydown", { key: "Escape" });
  gone(widget);
  assert.deepEqual(seen, ["cancel"]);
});

test("a script in the head, before there is a body", () => {
  const page = new Page({ script: { src: SRC } });
  page.window.document.body = null;
  page.load()("shop", "user-123").cancel();
  assert.equal(page.widgets.length, 0);
});
