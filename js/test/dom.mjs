// As much of a browser as the widget touches: elements, shadow roots, one dialog, messages, a clock.

import { readFileSync } from "node:fs";
import vm from "node:vm";

export const FILE = new URL("../otp.js", import.meta.url);
export const SOURCE = readFileSync(FILE, "utf8");

// What can be listened to. `heard` counts the listeners, as a leak would.
class Target {
  listeners = [];

  addEventListener(type, listener) {
    this.listeners.push({ type, listener });
  }

  removeEventListener(type, listener) {
    this.listeners = this.listeners.filter((one) => one.type !== type || one.listener !== listener);
  }

  heard(type) {
    return this.listeners.filter((one) => one.type === type).length;
  }

  fire(type, event = {}) {
    const all = this.listeners.filter((one) => one.type === type);
    for (const { listener } of all) listener({ type, target: this, ...event });
  }
}

class Node extends Target {
  children = [];
  parent = null;

  constructor(page) {
    super();
    this.page = page;
  }

  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof Node) node.parent = this;
      this.children.push(node);
    }
  }

  remove() {
    if (this.isConnected && this.contains(this.page.focused)) this.page.focused = this.page.body;
    if (this.parent) this.parent.children = this.parent.children.filter((one) => one !== this);
    this.parent = null;
  }

  get isConnected() {
    return this === this.page.html || Boolean(this.parent && this.parent.isConnected);
  }

  // Through shadow roots too.
  contains(node) {
    return node === this || Boolean(node && node.parent && this.contains(node.parent));
  }

  get textContent() {
    return this.children.map((one) => (one instanceof Node ? one.textContent : one)).join("");
  }

  set textContent(text) {
    this.children = [text];
  }

  // Every element below, in order; a shadow root is below its host.
  *below() {
    for (const one of [...this.children, this.shadowRoot].filter((node) => node instanceof Node)) {
      yield one;
      yield* one.below();
    }
  }

  find(test) {
    return [...this.below()].find((one) => (typeof test === "string" ? one.localName === test : test(one)));
  }
}

class Root extends Node {
  adoptedStyleSheets = [];

  constructor(host) {
    super(host.page);
    this.parent = host;
  }

  get activeElement() {
    return this.contains(this.page.focused) ? this.page.focused : null;
  }
}

class Element extends Node {
  nodeType = 1;
  attributes = {};
  styles = {};
  style = { setProperty: (name, value) => { this.styles[name] = value; } };

  constructor(page, localName) {
    super(page);
    this.localName = localName;
    if (localName === "dialog" && !page.old) this.makeDialog();
  }

  makeDialog() {
    this.showModal = () => {
      this.open = true;
      this.before = this.page.focused;
    };
    this.close = () => {
      if (!this.open) return;
      this.open = false;
      this.before.focus();
      queueMicrotask(() => this.fire("close")); // a task of its own, in browsers too
    };
  }

  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }

  getAttribute(name) {
    return name in this.attributes ? this.attributes[name] : null;
  }

  get className() {
    return this.getAttribute("class") || "";
  }

  set className(names) {
    this.setAttribute("class", names);
  }

  attachShadow() {
    this.shadowRoot = new Root(this);
    return this.shadowRoot;
  }

  focus() {
    if (this.isConnected) this.page.focused = this;
  }

  // A frame has a window while it is in the page.
  get contentWindow() {
    if (this.localName !== "iframe" || !this.isConnected) return null;
    this.inner = this.inner || { frame: this };
    return this.inner;
  }
}

// A page of a tenant. `script`: the element of the widget, `old`: a browser of 2021.
export class Page {
  timers = new Map();
  now = 0;
  scrolled = [];

  constructor({ script, current = null, lang = "", language = "en-GB", old = false, overflow = "visible", bar = 15 } = {}) {
    this.old = old;
    this.html = Object.assign(new Element(this, "html"), { lang, clientWidth: 1000 - bar });
    this.head = new Element(this, "head");
    this.body = new Element(this, "body");
    this.html.append(this.head, this.body);
    this.focused = this.body;
    this.window = this.makeWindow({ script, current, language, overflow });
    vm.createContext(this.window);
  }

  makeWindow({ script, current, language, overflow }) {
    const window = Object.assign(new Target(), {
      URL, navigator: { language }, document: this.makeDocument({ script, current }),
      innerWidth: 1000, scrollX: 0, scrollY: 340,
      scrollTo: (to) => this.scrolled.push({ ...to }),
      getComputedStyle: () => ({ overflowY: overflow }),
      setTimeout: (task, wait = 0, ...values) => this.later({ task, at: this.now + wait, values }),
      clearTimeout: (timer) => this.timers.delete(timer),
    });
    if (!this.old) window.CSSStyleSheet = class { replaceSync(css) { this.css = css; } };
    window.addEventListener = window.addEventListener.bind(window);
    window.removeEventListener = window.removeEventListener.bind(window);
    return Object.assign(window, { window });
  }

  makeDocument({ script, current }) {
    const page = this;
    return {
      documentElement: this.html, head: this.head, body: this.body, currentScript: current, adoptedStyleSheets: [],
      createElement: (name) => new Element(page, name),
      getElementById: (id) => (id === "otpgateway-script" && script) || null,
      querySelector(selector) {
        if (!/^#[a-z]+$/.test(selector)) throw new SyntaxError(`'${selector}' is not a valid selector.`);
        return page.html.find((one) => one.attributes && one.attributes.id === selector.slice(1)) || null;
      },
      // Of what is focused in a shadow tree the page sees the host.
      get activeElement() {
        let seen = page.focused;
        for (let at = seen; at; at = at.parent) if (at instanceof Root) seen = at.parent;
        return seen;
      },
    };
  }

  // Runs the file as the browser runs a classic script.
  load(source = SOURCE) {
    vm.runInContext(source, this.window, { filename: "otp.js" });
    return this.window.OTPGateway;
  }

  add(name, attributes = {}) {
    const element = new Element(this, name);
    for (const key of Object.keys(attributes)) element.setAttribute(key, attributes[key]);
    this.body.append(element);
    return element;
  }

  // The shown widgets, first to last.
  get widgets() {
    return [...this.html.below()].filter((one) => one.attributes && "data-otpsvc" in one.attributes);
  }

  later(due) {
    const timer = {};
    this.timers.set(timer, due);
    return timer;
  }

  // Lets the seconds pass; what is due runs, and what it throws is returned.
  pass(seconds) {
    const thrown = [];
    this.now += seconds * 1000;
    for (const [timer, { task, at, values }] of this.timers) {
      if (at > this.now || !this.timers.delete(timer)) continue;
      try { task(...values); } catch (error) { thrown.push(error); }
    }
    return thrown;
  }

  say(data, { origin = "https://otp.example", source } = {}) {
    this.window.fire("message", { data, origin, source });
  }
}

// A page with the script of otp.example, and its function.
export const shop = (options = {}) => {
  const page = new Page({ script: { src: "https://otp.example/static/otp.js" }, ...options });
  return { page, OTPGateway: page.load() };
};

// The parts of one shown widget.
export const parts = (host) => {
  const root = host.shadowRoot;
  const of = (test) => root.find(test);
  const classed = (name) => of((one) => one.className !== undefined && one.className.split(" ").includes(name));
  return {
    host, root, box: root.children[0], frame: of("iframe"), dialog: of("dialog"), title: of("h2"), line: of("p"),
    stage: classed("stage"), cross: classed("cross"), leave: root.find((one) => one.localName === "button" && !one.className),
  };
};
