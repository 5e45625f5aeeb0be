// The page's reading of codes and spans (web/pages/code.js); its behaviour is tested in a browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// No package.json says that it is a module, and the page needs none.
const source = await readFile(new URL("../../web/pages/code.js", import.meta.url), "utf8");
const { plain, possible, complete, found, span, groups } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const six = { length: "6", alphabet: "digits" };
const letters = { length: "6", alphabet: "letters" };
const unknown = { length: "0", alphabet: "digits" };

test("what people put between the characters is left out", () => {
  for (const typed of ["246810", "246 810", "246-810", " 24.68.10 ", "2\u00a046\u20138\u200b10", "246\u2014810"]) {
    assert.equal(plain(typed), "246810");
  }
});

test("a code is complete when it has its length and its characters", () => {
  for (const code of ["246810", "٢٤٦٨١٠", "२४६८१०", "２４６８１０"]) assert.ok(complete(code, six));
  for (const code of ["", "24681", "2468101", "24681a", "24 810", "<b>246"]) assert.ok(!complete(code, six));
  assert.ok(complete("CDF347", letters));
  assert.ok(complete("cdf347", letters));
  assert.ok(!complete("CDF34_", letters));
});

test("a code of unknown length is never complete, but may be one", () => {
  assert.ok(!complete("2468", unknown));
  for (const code of ["2468", "2468101214"]) assert.ok(possible(code, unknown));
  for (const code of ["246", "24681012141", "Call us"]) assert.ok(!possible(code, unknown));
});

test("the code is found in a pasted message", () => {
  const message = "Your Shop code: 246810. Valid 5 min.\nCall 0800 123 456.\n@shop.example #246810";
  for (const text of ["246810", "246 810", "G-246810 is your code", "Code 24 68 10, valid 5 min", message]) {
    assert.equal(found(text, six), "246810", text);
  }
});

test("nothing is found where several or none could be it", () => {
  for (const text of ["", "no code", "246810 or 135791", "12345", "1234567", "Call 0800 123 456"]) {
    assert.equal(found(text, six), "", text);
  }
  assert.equal(found("Please type CDF347", letters), "");
  assert.equal(found("CDF-347", letters), "CDF347");
});

// The server's `Words.span` has the same table in tests/http/test_page_stage.py.
test("spans are rounded up", () => {
  const forms = ["{count} s", "{count} min", "{count} h"];
  const table = { 0: "0 s", 59: "59 s", 60: "1 min", 61: "2 min", 3540: "59 min", 3541: "1 h", 3601: "2 h" };
  for (const [seconds, text] of Object.entries(table)) assert.equal(span(+seconds, forms), text);
});

test("large codes stand in groups", () => {
  assert.deepEqual(groups("246810"), ["246", "810"]);
  assert.deepEqual(groups("24681012"), ["2468", "1012"]);
  assert.deepEqual(groups("2468101214"), ["24681", "01214"]);
  assert.deepEqual(groups("2468"), ["2468"]);
});
