"""A shop where people sign in by a code. Its page is shop.html. OTPSVC_SECRET=… python3 shop.py."""
# ruff: noqa: S310 (the URL comes from the environment, not from a visitor)

import json
import os
import secrets
from base64 import b64encode
from html import escape
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode
from urllib.request import Request, urlopen

OTPSVC = os.environ.get("OTPSVC_URL", "http://127.0.0.1:9000")  # where this server finds otpsvc
PUBLIC = os.environ.get("OTPSVC_PUBLIC_URL", OTPSVC)  # where browsers find it: its root_url
NAMESPACE = os.environ.get("OTPSVC_NAMESPACE", "shop")
LOGIN = "Basic " + b64encode(f"{NAMESPACE}:{os.environ['OTPSVC_SECRET']}".encode()).decode()
PROVIDER = os.environ.get("PROVIDER", "smtp")

PAGE = Path(__file__).with_name("shop.html").read_text("utf-8")
ASK = """<form method="post" action="/start">
    <label>E-mail: <input name="to" type="email" autocomplete="email" required></label>
    <button>Send me a code</button></form>"""
WAIT = """<p>We sent a code to {to}.</p>
    <form id="finish" method="post" action="/finish"
      data-namespace="{namespace}" data-id="{id}" data-url="{url}">
      <input type="hidden" name="receipt"><button>Enter the code</button></form>
    <noscript><p>Please switch on JavaScript for this page.</p></noscript>"""
LEAVE = '<form method="post" action="/leave"><button>{word}</button></form>'
POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; frame-src "

# Cookie -> {"id", "gen", "url", "to"} while a code is awaited, then {"user"}.
# A real shop keeps this in its database, and forgets old ones.
sessions: dict[str, dict[str, str]] = {}


def ask_otpsvc(method: str, path: str, **fields: str) -> tuple[int, dict]:
    """One call of the API: its status and its answer."""
    body = urlencode(fields).encode()
    request = Request(f"{OTPSVC}/api/otp/{path}", body, {"Authorization": LOGIN}, method=method)
    try:
        try:
            answer = urlopen(request, timeout=5)
        except HTTPError as error:  # otpsvc says no, and why
            answer = error
        with answer:
            return answer.status, {"wait": answer.headers["Retry-After"], **json.load(answer)}
    except (OSError, ValueError, HTTPException):  # no otpsvc there, or something else
        return 503, {}


class Shop(BaseHTTPRequestHandler):
    timeout = 10  # seconds for a browser to send its request

    def do_GET(self) -> None:
        session = sessions.get(self.cookie(), {})
        if "user" in session:
            self.page(200, "<p>Hello, {user}!</p>" + LEAVE, user=session["user"], word="Sign out")
        elif "id" in session:
            self.page(200, WAIT + LEAVE, **session, namespace=NAMESPACE, word="Start over")
        else:
            self.page(200, ASK)

    def do_POST(self) -> None:
        # Browsers say which site a form stands on. Forms of other sites are refused. (CSRF)
        host = self.headers.get("Host", "")
        doors = {"/start": self.start, "/finish": self.sign_in, "/leave": lambda _: self.go_home({})}
        if self.headers.get("Origin") not in (f"http://{host}", f"https://{host}"):
            self.page(403, "<p>This form is not ours.</p>")
        elif self.path not in doors:
            self.page(404, "<p>There is nothing here.</p>")
        else:
            length = self.headers.get("Content-Length", "")
            body = self.rfile.read(min(int(length), 10_000) if length.isdecimal() else 0)
            form = parse_qs(body.decode(errors="replace"))
            doors[self.path]({name: values[0] for name, values in form.items()})

    def start(self, form: dict[str, str]) -> None:
        """Step 1: ask for a verification. Its id and gen are kept in the session."""
        to = form.get("to", "?")  # "?" is refused; without `to` otpsvc's page would ask for the address
        client_ip = self.client_address[0]  # behind a proxy of yours: the address that it reports
        wish = {"provider": PROVIDER, "to": to, "purpose": "authentication", "client_ip": client_ip}
        status, answer = ask_otpsvc("PUT", secrets.token_urlsafe(16), **wish)
        if status == 200:
            self.go_home({name: answer["data"][name] for name in ("id", "gen", "url", "to")})
        else:
            self.refuse(status, answer)

    def sign_in(self, form: dict[str, str]) -> None:
        """Step 3: the browser says that the code was right. Ask otpsvc whether that is true."""
        session = sessions.get(self.cookie(), {})
        status, answer = 400, {"code": "not_found"}
        if "id" in session:
            proof = {"receipt": form.get("receipt", ""), "gen": session["gen"]}
            status, answer = ask_otpsvc("POST", session["id"] + "/status", **proof)
        if status == 200:
            self.go_home({"user": answer["data"]["to"]})  # the address that was verified
        else:
            self.refuse(status, answer)

    def refuse(self, status: int, answer: dict) -> None:
        """Tell the user what helps, and the log which word otpsvc said."""
        word = answer.get("code", "no answer")
        self.log_message("otpsvc: %s %s", status, word)
        if status == 429:
            text = "That was too often. Please wait {wait} seconds."
        elif word == "invalid_address":
            text = "This address cannot be used. Please look at it again."
        elif word in ("not_verified", "not_found"):
            text = "We could not make sure that it is you. Please start over."
        else:
            status, text = 503, "We cannot send or check codes right now. Please try again in a minute."
        wait = answer.get("wait") or "60"
        self.page(status, f'<p role="alert">{text}</p>{LEAVE}', wait=wait, word="Start over")

    def cookie(self) -> str:
        pairs = [pair.strip().partition("=") for pair in self.headers.get("Cookie", "").split(";")]
        return next((value for name, _, value in pairs if name == "shop_session"), "")

    def go_home(self, session: dict[str, str]) -> None:
        """To the first page. The old session ends; a new one gets a new cookie."""
        sessions.pop(self.cookie(), None)
        cookie = secrets.token_urlsafe() if session else ""
        if session:
            sessions[cookie] = session
        self.send_response(303)
        self.send_header("Location", "/")
        # With https, add "; Secure".
        self.send_header("Set-Cookie", f"shop_session={cookie}; Path=/; HttpOnly; SameSite=Lax")
        self.end_headers()

    def page(self, status: int, main: str, **values: str) -> None:
        """Send a page. Values are escaped; only scripts and styles with this page's nonce run."""
        nonce = secrets.token_urlsafe()
        main = main.format(**{name: escape(value) for name, value in values.items()})
        html = PAGE.replace("{otpsvc}", escape(PUBLIC)).replace("{nonce}", nonce).replace("{main}", main)
        policy = f"{POLICY}{PUBLIC}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Referrer-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(html.encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Shop).serve_forever()
