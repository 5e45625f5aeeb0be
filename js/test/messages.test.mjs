// Who is listened to: this widget's frame, at the exact origin, about this challenge. Nobody else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parts, shop } from "./dom.mjs";

const URL_ = "https://otp.example/otp/shop/user-123?t=x";
const RIGHT = { namespace: "shop", id: "user-123", receipt: "r1" };

// A running widget that keeps what its callbacks got.
const start = (page, OTPGateway, options = {}) => {
  const seen = [];
  const call = {
    namespace: "shop", id: "user-123", url: URL_,
    onFinish: (...got) => seen.push(["finish", ...got]),
    onCancel: (...got) => seen.push(["cancel", ...got]),
    ...options,
  };
  const promise = OTPGateway(call);
  const view = parts(page.widgets[page.widgets.length - 1]);
  const source = view.frame.contentWindow;
  return { ...view, seen, promise, source, hear: (data, from = {}) => page.say(data, { source, ...from }) };
};
const one = (options) => {
  const { page, OTPGateway } = shop();
  return { page, OTPGateway, ...start(page, OTPGateway, options) };
};
const untouched = ({ page, seen, stage }) => {
  assert.deepEqual([seen, page.widgets.length, page.window.heard("message")], [[], 1, 1]);
  assert.equal(stage.className, "stage loading");
};

test("a right code finishes, with its receipt", async () => {
  const { page, seen, promise, hear } = one();
  hear(RIGHT);
  assert.deepEqual(seen, [["finish", "shop", "user-123", "r1"]]);
  assert.deepEqual({ ...(await promise) }, RIGHT);
  assert.deepEqual([page.widgets.length, page.window.heard("message"), page.timers.size], [0, 0, 0]);
});

test("the call of otpgateway finishes too", async () => {
  const { page, OTPGateway } = shop();
  const seen = [];
  const promise = OTPGateway("shop", "user-123", (...got) => seen.push(got), () => seen.push("cancel"));
  page.say(RIGHT, { source: parts(page.widgets[0]).frame.contentWindow });
  assert.deepEqual(seen, [["shop", "user-123", "r1"]]);
  assert.deepEqual({ ...(await promise) }, RIGHT);
});

test("a receipt that is no text counts as none", async () => {
  for (const receipt of [undefined, null, 7, { toString: () => "r1" }]) {
    const { promise, hear } = one();
    hear({ ...RIGHT, receipt });
    assert.equal((await promise).receipt, "");
  }
});

const ORIGINS = [
  "https://otp.example.evil.example", "https://evil.example/https://otp.example", "https://evilotp.example",
  "http://otp.example", "https://otp.example:8443", "https://otp.example/", "https://OTP.example", "https://otp.exampl",
  "https://shop.example", "null", "", undefined, null,
];
test("another origin is not heard, however much it looks like ours", () => {
  for (const origin of ORIGINS) {
    const widget = one();
    widget.page.say(RIGHT, { origin: origin === undefined ? "undefined" : origin, source: widget.source });
    untouched(widget);
  }
});

test("another window is not heard, not even one of our origin", () => {
  for (const source of [{}, null, undefined, { frame: "stranger" }]) {
    const widget = one();
    widget.page.say(RIGHT, { source });
    untouched(widget);
  }
});

test("a frame that was taken out of the page is not taken for no window", () => {
  const widget = one();
  widget.host.remove();
  widget.page.say(RIGHT, { source: null });
  assert.deepEqual(widget.seen, []);
});

const ODD = [
  null, undefined, "", "verified", '{"namespace":"shop","id":"user-123"}', 0, 1, NaN, true, [], ["shop", "user-123"], {},
  new Date(0), new Map([["namespace", "shop"], ["id", "user-123"]]), Symbol.iterator, () => RIGHT,
  { type: "webpackOk" }, { target: "metamask-inpage", data: {} }, { command: "collectPageDetailsResponse", id: "user-123" },
  { namespace: "shop" }, { id: "user-123" }, { data: RIGHT }, { namespace: ["shop"], id: ["user-123"] },
  { namespace: "bank", id: "user-123" }, { namespace: "shop", id: "user-124" }, { namespace: "SHOP", id: "user-123" },
  { namespace: "shop/user", id: "-123" }, { namespace: { toString: () => "shop" }, id: "user-123" },
  { otpsvc: "ready" }, { otpsvc: "ready", of: "shop/user-124" }, { otpsvc: "cancel", of: "bank/user-123" },
  { otpsvc: "cancel", of: ["shop/user-123"] }, { otpsvc: "cancel", namespace: "shop" }, { otpsvc: "CANCEL", of: "shop/user-123" },
  { otpsvc: "done", of: "shop/user-123" }, { of: "shop/user-123" },
];
test("odd messages are ignored, and throw nothing", () => {
  for (const data of ODD) {
    const widget = one();
    widget.hear(data);
    untouched(widget);
    assert.deepEqual(widget.stage.styles, {});
    widget.hear(RIGHT);
    assert.equal(widget.seen.length, 1, "it still works after that");
  }
});

test("it ends once, whatever comes after", async () => {
  const { seen, promise, source, page } = one();
  page.say(RIGHT, { source });
  page.say(RIGHT, { source });
  promise.cancel();
  page.say({ otpsvc: "cancel", of: "shop/user-123" }, { source });
  await promise;
  assert.deepEqual(seen, [["finish", "shop", "user-123", "r1"]]);
});

// --- two at once ---

test("two widgets never mix", async () => {
  const { page, OTPGateway } = shop();
  const first = start(page, OTPGateway);
  const second = start(page, OTPGateway, { id: "other-99", url: "https://otp.example/otp/shop/other-99?t=y" });
  assert.equal(page.window.heard("message"), 2);
  first.hear({ namespace: "shop", id: "other-99", receipt: "r2" });
  second.hear(RIGHT);
  assert.deepEqual([first.seen, second.seen], [[], []]);
  second.hear({ namespace: "shop", id: "other-99", receipt: "r2" });
  assert.deepEqual([first.seen, second.seen], [[], [["finish", "shop", "other-99", "r2"]]]);
  assert.equal(page.window.heard("message"), 1);
  first.hear(RIGHT);
  assert.deepEqual(first.seen, [["finish", "shop", "user-123", "r1"]]);
  assert.equal(page.window.heard("message"), 0);
});

test("two of the same id are told apart by their windows", () => {
  const { page, OTPGateway } = shop();
  const first = start(page, OTPGateway);
  const second = start(page, OTPGateway);
  second.hear(RIGHT);
  assert.deepEqual([first.seen, second.seen.length, page.widgets.length], [[], 1, 1]);
});

test("after a cancel, a second run tells only its own callbacks", () => {
  const { page, OTPGateway } = shop();
  const first = start(page, OTPGateway);
  first.promise.cancel();
  const second = start(page, OTPGateway);
  second.hear(RIGHT);
  assert.deepEqual([first.seen, second.seen], [[["cancel"]], [["finish", "shop", "user-123", "r1"]]]);
  assert.equal(page.window.heard("message"), 0);
});

// --- what else the page says ---

const say = (word, more) => ({ otpsvc: word, of: "shop/user-123", ...more });

test("ready shows the frame and gives it the focus", () => {
  const { page, frame, stage, hear } = one();
  hear(say("ready"));
  assert.equal(stage.className, "stage ready");
  assert.equal(page.focused, frame);
});

test("ready takes no focus from somebody who has moved on", () => {
  const { page, cross, hear } = one();
  cross.focus();
  hear(say("ready"));
  assert.equal(page.focused, cross);
});

test("the height follows the page, within bounds", () => {
  const { stage, hear } = one();
  const cases = [[300, "300px"], [300.2, "301px"], [1, "120px"], [1e9, "2000px"], [Infinity, "2000px"]];
  for (const [height, expected] of cases) {
    hear(say("resize", { height }));
    assert.equal(stage.styles["--height"], expected);
  }
});

test("a height that is none changes nothing", () => {
  const { stage, hear } = one();
  for (const height of [0, -5, NaN, "400", "1px;background:url(//evil.example)", null, [400], { valueOf: () => 400 }, undefined]) {
    hear(say("resize", { height }));
    assert.deepEqual(stage.styles, {});
  }
});

test("Esc inside the frame cancels", async () => {
  const { seen, promise, hear } = one();
  hear(say("cancel"));
  assert.deepEqual(seen, [["cancel"]]);
  assert.equal(await promise, null);
});

// --- no answer ---

const shown = ({ stage, line }) => [stage.className, line.textContent];

test("a frame that loads and stays silent is explained, with a button to leave", async () => {
  const { page, frame, stage, line, leave, seen, promise } = one({ locale: "de" });
  frame.fire("load");
  page.pass(4.9);
  assert.deepEqual(shown({ stage, line }), ["stage loading", "Wird geladen…"]);
  page.pass(0.2);
  assert.deepEqual(shown({ stage, line }), ["stage failed", "Diese Seite lässt sich nicht laden. Bitte schließen und neu versuchen."]);
  assert.deepEqual([leave.textContent, line.getAttribute("role")], ["Schließen", "status"]);
  leave.fire("click");
  assert.deepEqual(seen, [["cancel"]]);
  assert.equal(await promise, null);
});

test("so is one that never loads", () => {
  const { page, stage, line } = one();
  page.pass(19.9);
  assert.equal(stage.className, "stage loading");
  page.pass(0.2);
  assert.deepEqual(shown({ stage, line }), ["stage failed", "This page could not be loaded. Please close it and try again."]);
});

test("a page that comes late is shown", () => {
  const { page, stage, frame, hear } = one();
  page.pass(21);
  hear(say("ready"));
  assert.equal(stage.className, "stage ready");
  frame.fire("load");
  page.pass(60);
  assert.equal(stage.className, "stage ready");
});

test("a page that went on to another is not called silent", () => {
  const { page, stage, frame, hear } = one();
  hear(say("ready"));
  frame.fire("load");
  page.pass(60);
  assert.equal(stage.className, "stage ready");
  hear(say("ready"));
  assert.equal(stage.className, "stage ready");
});
