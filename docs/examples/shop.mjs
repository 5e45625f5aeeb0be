// A shop where people sign in by a code. Its page is shop.html. OTPSVC_SECRET=… node shop.mjs

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const env = process.env;
const OTPSVC = env.OTPSVC_URL ?? "http://127.0.0.1:9000"; // where this server finds otpsvc
const PUBLIC = env.OTPSVC_PUBLIC_URL ?? OTPSVC; // where browsers find it: its root_url
const NAMESPACE = env.OTPSVC_NAMESPACE ?? "shop";
if (!env.OTPSVC_SECRET) throw new Error("OTPSVC_SECRET is not set");
const LOGIN = "Basic " + Buffer.from(`${NAMESPACE}:${env.OTPSVC_SECRET}`).toString("base64");
const PROVIDER = env.PROVIDER ?? "smtp";

const PAGE = readFileSync(new URL("shop.html", import.meta.url), "utf-8");
const ASK = `<form method="post" action="/start">
    <label>E-mail: <input name="to" type="email" autocomplete="email" required></label>
    <button>Send me a code</button></form>`;
const WAIT = `<p>We sent a code to {to}.</p>
    <form id="finish" method="post" action="/finish"
      data-namespace="{namespace}" data-id="{id}" data-url="{url}">
      <input type="hidden" name="receipt"><button>Enter the code</button></form>
    <noscript><p>Please switch on JavaScript for this page.</p></noscript>`;
const LEAVE = `<form method="post" action="/leave"><button>{word}</button></form>`;
const POLICY = `default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; frame-src ${PUBLIC}`;

// Cookie -> { id, gen, url, to } while a code is awaited, then { user }.
// A real shop keeps this in its database, and forgets old ones.
const sessions = new Map();

const randomText = () => randomBytes(24).toString("base64url");
const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
/** Puts values where a text has {names}. */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (name, word) => values[word] ?? name);

/** One call of the API: its status and its answer. */
async function askOtpsvc(method, path, fields) {
  try {
    const answer = await fetch(`${OTPSVC}/api/otp/${path}`, {
      method,
      body: new URLSearchParams(fields),
      headers: { Authorization: LOGIN },
      redirect: "error",
      signal: AbortSignal.timeout(5000),
    });
    return [answer.status, { wait: answer.headers.get("Retry-After"), ...(await answer.json()) }];
  } catch {
    return [503, {}]; // no otpsvc there, or something else
  }
}

/** Step 1: ask for a verification. Its id and gen are kept in the session. */
async function start(visit, form) {
  const [status, answer] = await askOtpsvc("PUT", randomText(), {
    provider: PROVIDER,
    to: form.get("to") || "?", // "?" is refused; without `to` otpsvc's page would ask for the address
    purpose: "authentication",
    client_ip: visit.request.socket.remoteAddress, // behind a proxy of yours: the address that it reports
  });
  if (status !== 200) return refuse(visit, status, answer);
  const { id, gen, url, to } = answer.data;
  goHome(visit, { id, gen, url, to });
}

/** Step 3: the browser says that the code was right. Ask otpsvc whether that is true. */
async function signIn(visit, form) {
  const { id, gen } = visit.session;
  if (!id) return refuse(visit, 400, { code: "not_found" });
  const proof = { receipt: form.get("receipt") ?? "", gen };
  const [status, answer] = await askOtpsvc("POST", `${id}/status`, proof);
  if (status !== 200) return refuse(visit, status, answer);
  goHome(visit, { user: answer.data.to }); // the address that was verified
}

/** Tell the user what helps, and the log which word otpsvc said. */
function refuse(visit, status, answer) {
  console.error(`otpsvc: ${status} ${answer.code ?? "no answer"}`);
  let text = "We cannot send or check codes right now. Please try again in a minute.";
  if (status === 429) text = "That was too often. Please wait {wait} seconds.";
  else if (answer.code === "invalid_address") text = "This address cannot be used. Please look at it again.";
  else if (["not_verified", "not_found"].includes(answer.code)) {
    text = "We could not make sure that it is you. Please start over.";
  } else status = 503;
  page(visit, status, `<p role="alert">${text}</p>${LEAVE}`, { wait: answer.wait ?? "60", word: "Start over" });
}

/** To the first page. The old session ends; a new one gets a new cookie. */
function goHome({ response, cookie }, session) {
  sessions.delete(cookie);
  const fresh = session ? randomText() : "";
  if (session) sessions.set(fresh, session);
  // With https, add "; Secure".
  const header = `shop_session=${fresh}; Path=/; HttpOnly; SameSite=Lax`;
  response.writeHead(303, { Location: "/", "Set-Cookie": header }).end();
}

/** Send a page. Values are escaped; only scripts and styles with this page's nonce run. */
function page({ response }, status, main, values = {}) {
  const nonce = randomText();
  const safe = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, escaped(value)]));
  response.writeHead(status, {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": `${POLICY}; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'`,
    "Referrer-Policy": "same-origin",
  });
  response.end(fill(PAGE, { otpsvc: escaped(PUBLIC), nonce, main: fill(main, safe) }));
}

function get(visit) {
  const { session } = visit;
  if (session.user) page(visit, 200, `<p>Hello, {user}!</p>${LEAVE}`, { user: session.user, word: "Sign out" });
  else if (session.id) page(visit, 200, WAIT + LEAVE, { ...session, namespace: NAMESPACE, word: "Start over" });
  else page(visit, 200, ASK);
}

async function post(visit) {
  const { headers, url } = visit.request;
  const doors = { "/start": start, "/finish": signIn, "/leave": (visit) => goHome(visit) };
  // Browsers say which site a form stands on. Forms of other sites are refused. (CSRF)
  if (![`http://${headers.host}`, `https://${headers.host}`].includes(headers.origin)) {
    return page(visit, 403, "<p>This form is not ours.</p>");
  }
  if (!Object.hasOwn(doors, url)) return page(visit, 404, "<p>There is nothing here.</p>");
  await doors[url](visit, await readForm(visit.request));
}

async function readForm(request) {
  let body = "";
  for await (const part of request) {
    if (body.length < 10_000) body += part;
  }
  return new URLSearchParams(body);
}

async function serve(request, response) {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim().split("="));
  const cookie = pairs.find(([name]) => name === "shop_session")?.[1] ?? "";
  const visit = { request, response, cookie, session: sessions.get(cookie) ?? {} };
  await (request.method === "POST" ? post(visit) : get(visit));
}

createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error.message); // such as a visitor who hung up
    response.destroy();
  });
}).listen(Number(env.PORT ?? 8000), "127.0.0.1");
