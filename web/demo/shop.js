// What the shop's own page does with the widget: opens it with the address that the shop's
// server got from otpsvc, and hands the receipt to that server. No more is needed on a page.
"use strict";

(() => {
  let running = null;

  const part = (id) => document.getElementById(id);

  // To the shop's server, by a form of its own: the server asks otpsvc, and decides.
  const finish = ({ receipt }) => {
    const form = part("finish");
    form.elements.receipt.value = receipt;
    form.requestSubmit();
  };

  const show = (how) => {
    const open = running !== null;
    part("frame").hidden = !(open && how === "part");
    part("as-part").hidden = open && how === "part";
    part("as-window").hidden = open && how === "window";
    part("plain").open = false;
    document.dispatchEvent(new CustomEvent("demo:window", { detail: open && how === "window" }));
    // The page's live updates leave the shop alone meanwhile.
    if (open) part("shop").dataset.busy = "";
    else delete part("shop").dataset.busy;
  };

  const open = async (how) => {
    const place = part("widget"), { namespace, id, url } = place.dataset;
    const before = running;
    running = null;
    before?.cancel();
    const run = OTPGateway({ namespace, id, url, ...(how === "part" && { container: place }) });
    running = run;
    show(how);
    const done = await run.catch(() => null);
    // Another one was opened instead, or the page has gone on.
    if (running !== run) return;
    running = null;
    if (!part("widget")) return;
    show(how);
    if (done) finish(done);
  };

  const begin = () => {
    const place = part("widget");
    if (running && !place) {
      const last = running;
      running = null;
      last.cancel();
    }
    if (!place || "seen" in place.dataset || typeof OTPGateway === "undefined") return;
    place.dataset.seen = "";
    open("part");
  };

  addEventListener("click", (event) => {
    const button = event.target.closest("[data-open]");
    if (button) open(button.dataset.open);
  });
  document.addEventListener("demo:page", begin);
})();
