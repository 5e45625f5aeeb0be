// otp.mjs, loaded as a browser loads it: from a server, beside an otp.js.

import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";
import { Page, parts, shop } from "./dom.mjs";

const FOLDER = new URL("../", import.meta.url).href;

// Node's loader fetches nothing: files of https://…/static/ come from js/; a hash in the name is left out.
const HOOKS = `
import { readFileSync } from "node:fs";
export const resolve = (name, context, next) =>
  name.startsWith("https:") || (context.parentURL || "").startsWith("https:")
    ? { url: new URL(name, context.parentURL).href, shortCircuit: true } : next(name, context);
export const load = (url, context, next) => {
  const [, file, , kind] = /^https:.*\\/static\\/(otp)(\\.[0-9a-f]{8})?(\\.m?js)$/.exec(url) || [];
  if (!file) return next(url, context);
  return { format: "module", source: readFileSync(new URL(file + kind, ${JSON.stringify(FOLDER)}), "utf8"), shortCircuit: true };
};`;
register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);

// The stand-in's globals become ours, and nothing is to be added to them.
const page = new Page({ lang: "es" });
const { window } = page;
for (const name of ["document", "navigator", "getComputedStyle", "setTimeout", "clearTimeout", "CSSStyleSheet"]) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
}
globalThis.window = globalThis;
for (const name of ["addEventListener", "removeEventListener", "scrollTo", "innerWidth", "scrollX", "scrollY"]) {
  globalThis[name] = window[name];
}

const load = (url) => import(url);

test("the module's own server is the root", async () => {
  const { OTPGateway, default: made } = await load("https://otp.example/static/otp.mjs");
  assert.equal(made, OTPGateway);
  const promise = OTPGateway("shop", "user-123");
  const { frame, title } = parts(page.widgets[0]);
  assert.equal(frame.getAttribute("src"), "https://otp.example/otp/shop/user-123?view=popup");
  assert.equal(title.textContent, "Verificación");
  page.say({ namespace: "shop", id: "user-123", receipt: "r1" }, { source: frame.contentWindow });
  assert.deepEqual(await promise, { namespace: "shop", id: "user-123", receipt: "r1" });
});

test("its name may hold a hash", async () => {
  const { OTPGateway } = await load("https://otp.example/static/otp.0a1b2c3d.mjs");
  const promise = OTPGateway("shop", "user-123");
  assert.match(parts(page.widgets[0]).frame.getAttribute("src"), /^https:\/\/otp\.example\/otp\//);
  promise.cancel();
});

test("modules of two servers keep their roots", async () => {
  const [{ OTPGateway: first }, { OTPGateway: second }] = [
    await load("https://otp.example/static/otp.mjs"), await load("https://two.example/below/static/otp.mjs"),
  ];
  const promises = [first("shop", "user-123"), second("shop", "user-123")];
  const roots = page.widgets.map((host) => parts(host).frame.getAttribute("src").split("/otp/")[0]);
  assert.deepEqual(roots, ["https://otp.example", "https://two.example/below"]);
  promises.forEach((promise) => promise.cancel());
});

test("a module from nowhere wants the url", async () => {
  const { OTPGateway } = await import("../otp.mjs");
  assert.throws(() => OTPGateway("shop", "user-123"), { name: "TypeError", message: /give `url`/ });
});

test("a module defines no global function", async () => {
  await load("https://otp.example/static/otp.mjs");
  assert.equal("OTPGateway" in globalThis, false);
});

test("a script defines the function, and a second one replaces it", () => {
  const { page: other, OTPGateway } = shop();
  assert.equal(OTPGateway.name, "OTPGateway");
  assert.notEqual(other.load(), OTPGateway);
});
