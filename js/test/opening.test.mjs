// What a call takes, what it refuses, and what it puts into the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page, SOURCE, parts, shop } from "./dom.mjs";

const URL_ = "https://otp.example/otp/shop/user-123?t=AbC-_1";
const ASKED = { namespace: "shop", id: "user-123", url: URL_ };

const framed = (options, given = {}) => {
  const { page, OTPGateway } = shop(given);
  OTPGateway(options);
  return parts(page.widgets[0]);
};
const refused = (call, sentence) => {
  const { page, OTPGateway } = shop();
  assert.throws(() => call(OTPGateway, page), { name: "TypeError", message: sentence });
  assert.deepEqual([page.widgets.length, page.window.heard("message"), page.timers.size], [0, 0, 0]);
};

// --- the root ---

test("the root is that of the script with the id", () => {
  const page = new Page({ script: { src: "https://otp.example/static/otp.js" }, current: { src: "https://other.example/x.js" } });
  page.load()("shop", "user-123");
  assert.equal(parts(page.widgets[0]).frame.getAttribute("src"), "https://otp.example/otp/shop/user-123?view=popup");
});

test("without the id it is that of the running script", () => {
  const page = new Page({ current: { src: "https://otp.example:8443/static/otp.0a1b2c3d.js?v=1" } });
  page.load()("shop", "user-123");
  assert.equal(parts(page.widgets[0]).frame.getAttribute("src"), "https://otp.example:8443/otp/shop/user-123?view=popup");
});

test("a server below a path keeps its path", () => {
  const page = new Page({ script: { src: "https://shop.example/verify/static/otp.js" } });
  page.load()("shop", "user-123");
  assert.equal(parts(page.widgets[0]).frame.getAttribute("src"), "https://shop.example/verify/otp/shop/user-123?view=popup");
});

test("a copy of the file elsewhere asks at the root of its host", () => {
  const page = new Page({ current: { src: "https://otp.example/vendor/otp.js" } });
  page.load()("shop", "user-123");
  assert.equal(parts(page.widgets[0]).frame.getAttribute("src"), "https://otp.example/otp/shop/user-123?view=popup");
});

test("without a root only the url helps", () => {
  for (const current of [null, {}, { src: "" }, { src: "file:///home/otp.js" }, { src: "blob:https://otp.example/1" }]) {
    const page = new Page({ current });
    const OTPGateway = page.load();
    assert.throws(() => OTPGateway("shop", "user-123"), { name: "TypeError", message: /give `url`.*otpgateway-script/ });
    OTPGateway(ASKED);
    assert.equal(parts(page.widgets[0]).frame.getAttribute("src"), URL_);
  }
});

test("the url decides, wherever the script came from", () => {
  const url = "http://127.0.0.1:9000/below/otp/shop/user-123?t=x";
  assert.equal(framed({ ...ASKED, url }).frame.getAttribute("src"), url);
});

// --- the address ---

test("namespace and id are encoded", () => {
  const { frame } = framed({ namespace: "s h?p", id: "a/b#c%d@:+é" });
  assert.equal(frame.getAttribute("src"), "https://otp.example/otp/s%20h%3Fp/a%2Fb%23c%25d%40%3A%2B%C3%A9?view=popup");
});

test("an id as the server writes it into the url is the same id", () => {
  for (const id of ["a:b@c+d=e,f~g", "a%3Ab%40c+d=e,f~g"]) {
    framed({ namespace: "shop", id: "a:b@c+d=e,f~g", url: `https://otp.example/otp/shop/${id}?t=x` });
  }
});

test("theme and locale are added, the rest stays", () => {
  const { frame } = framed({ ...ASKED, url: URL_ + "&provider=sms&lang=en", theme: "dark", locale: "de-AT" });
  const { search } = new URL(frame.getAttribute("src"));
  assert.equal(search, "?t=AbC-_1&provider=sms&lang=de-AT&theme=dark");
});

test("auto and no locale add nothing", () => {
  assert.equal(framed({ ...ASKED, theme: "auto" }).frame.getAttribute("src"), URL_);
});

// --- what is refused ---

const BAD = {
  "nothing": [/`namespace` should be a string/],
  "null": [/`namespace`/, null],
  "no id": [/`id` should be a string/, "shop"],
  "an empty id": [/`id`/, "shop", ""],
  "a number as id": [/`id`/, "shop", 123456],
  "an object as namespace": [/`namespace`/, { namespace: {}, id: "user-123" }],
  "no function": [/`onFinish` should be a function/, "shop", "user-123", "finish"],
  "no function to cancel": [/`onCancel` should be a function/, "shop", "user-123", null, {}],
  "an unknown theme": [/`theme` should be light, dark or auto/, { ...ASKED, theme: "blue" }],
  "a theme of every object": [/`theme`/, { ...ASKED, theme: "constructor" }],
  "a locale that is no text": [/`locale`/, { ...ASKED, locale: ["de"] }],
  "a url that is no text": [/`url` should be a string/, { ...ASKED, url: { href: URL_ } }],
  "a relative url": [/`url` should be an absolute/, { ...ASKED, url: "/otp/shop/user-123?t=x" }],
  "a script as url": [/`url` should be an absolute http/, { ...ASKED, url: "javascript:alert(1)//otp/shop/user-123" }],
  "a data url": [/`url`/, { ...ASKED, url: "data:text/html,/otp/shop/user-123" }],
  "the url of another id": [/`url` should be the page of this/, { ...ASKED, id: "user-124" }],
  "the url of another namespace": [/`url` should be the page of this/, { ...ASKED, namespace: "bank" }],
  "a url with a broken path": [/`url`/, { ...ASKED, url: "https://otp.example/otp/shop/%E0%A4%A" }],
  "a namespace that leads elsewhere": [/`url`/, "..", "user-123"],
  "an id that leads elsewhere": [/`url`/, "shop", ".."],
  "half a character": [/`url`/, "shop", "user-\ud800"],
  "no such container": [/`container` should be an element/, { ...ASKED, container: "#missing" }],
  "no selector": [/`container`/, { ...ASKED, container: "<div>" }],
  "a container that is no element": [/`container`/, { ...ASKED, container: { nodeType: 9 } }],
};
for (const [name, [sentence, ...given]] of Object.entries(BAD)) {
  test(`refused: ${name}`, () => refused((OTPGateway) => OTPGateway(...given), sentence));
}

test("no sentence quotes the token", () => {
  const { OTPGateway } = shop();
  for (const url of ["//AbC-_1", "ftp://otp.example/otp/shop/user-123?t=AbC-_1", URL_ + "x"]) {
    assert.throws(() => OTPGateway({ ...ASKED, id: "user-999", url }), (error) => !error.message.includes("AbC-_1"));
  }
});

// --- the page ---

test("the frame has a name, one right, and tells nothing of the page around it", () => {
  const { frame } = framed(ASKED);
  assert.deepEqual(frame.attributes, { src: URL_, title: "Verification", allow: "otp-credentials", referrerpolicy: "no-referrer" });
});

test("the dialog is modal, named, and has a button to close", () => {
  const { dialog, title, cross } = framed(ASKED);
  assert.equal(dialog.open, true);
  assert.equal(dialog.getAttribute("aria-labelledby"), title.getAttribute("id"));
  assert.equal(title.textContent, "Verification");
  assert.equal(cross.getAttribute("aria-label"), "Close");
});

test("in a container there is no dialog, and the page stays as it is", () => {
  const { page, OTPGateway } = shop();
  const slot = page.add("div", { id: "slot" });
  const button = page.add("button");
  button.focus();
  OTPGateway({ ...ASKED, container: "#slot" });
  OTPGateway({ ...ASKED, container: slot });
  assert.deepEqual(page.widgets, slot.children);
  assert.equal(parts(slot.children[0]).dialog, undefined);
  assert.equal(page.focused, button);
  assert.equal(page.window.document.adoptedStyleSheets.length, 0);
});

test("styles need no permission of the page's policy", () => {
  const { root } = framed({ ...ASKED, theme: "dark" });
  assert.match(root.adoptedStyleSheets[0].css, /color-scheme: dark/);
  assert.equal(root.find("style"), undefined);
  assert.ok([...root.below()].every((one) => !("style" in one.attributes)));
  assert.doesNotMatch(SOURCE, /innerHTML|outerHTML|insertAdjacent|document\.write|cssText|\.on[a-z]+ = /);
});

test("each theme has its colours", () => {
  const css = (theme) => framed({ ...ASKED, theme }).root.adoptedStyleSheets[0].css;
  assert.doesNotMatch(css("light"), /color-scheme: dark/);
  assert.match(css("auto"), /@media \(prefers-color-scheme: dark\)\{\.box \{/);
  assert.match(css("dark"), /\n\.box \{[^}]*color-scheme: dark/);
  assert.equal(css(undefined), css("auto"));
});

// --- languages ---

const SPOKEN = [
  ["the locale comes first", { lang: "es" }, "de-AT", "Bestätigung"],
  ["then the page", { lang: "ES-mx", language: "de" }, undefined, "Verificación"],
  ["then the browser", { language: "id-ID" }, undefined, "Verifikasi"],
  ["one that we do not speak is passed over", { lang: "de" }, "fr", "Bestätigung"],
  ["then English", { lang: "xx", language: undefined }, "tlh", "Verification"],
  ["a word of every object is no language", {}, "constructor", "Verification"],
];
for (const [name, given, locale, expected] of SPOKEN) {
  test(`language: ${name}`, () => assert.equal(framed({ ...ASKED, locale }, given).title.textContent, expected));
}

test("Arabic runs from right to left", () => {
  const { box } = framed({ ...ASKED, locale: "ar" });
  assert.deepEqual([box.getAttribute("lang"), box.getAttribute("dir")], ["ar", "rtl"]);
  assert.equal(framed(ASKED).box.getAttribute("dir"), "ltr");
});
