// Keeps a page fresh and adds keys. Everything works without it. The server says
// only that something changed; the page then fetches itself anew through the
// handler that checks who may see it, and takes over its parts marked data-live.
"use strict";

// busy: somebody is reading or writing in this part; leave it alone.
function busy(part) {
  const at = document.activeElement;
  if (at && at.matches("input, textarea, select") && part.contains(at)) return true;
  if (part.querySelector("details[open]")) return true;
  return [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((f) => f.value !== f.defaultValue || f.checked !== f.defaultChecked);
}

// The page says what it has seen already: what changed while it travelled counts.
let seen = document.body.dataset.pulse;
let fetching = false, again = false;

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next || busy(part) || next.outerHTML === part.outerHTML) continue;
      const at = document.activeElement, href = at && part.contains(at) ? at.getAttribute("href") : null;
      part.replaceWith(next);
      if (href) [...next.querySelectorAll("a")].find((a) => a.getAttribute("href") === href)?.focus();
    }
    const stops = fresh.getElementById("stops"), have = document.getElementById("stops");
    if (stops && !have) document.getElementById("main").before(stops);
    if (!stops && have) have.remove();
  } catch {
    // The service is restarting or somebody signed out. The stream comes back by
    // itself, and whatever it then says is news.
    seen = "";
  } finally {
    fetching = false;
    if (again) { again = false; setTimeout(refresh, 300); }
  }
}

if (seen && document.querySelector("main [data-live]")) {
  new EventSource("/events").addEventListener("change", (e) => {
    if (seen !== e.data) refresh();
    seen = e.data;
  });
}

// The key of a hand-over comes behind the #, which a browser sends to nobody.
const key = document.querySelector("[data-fragment]");
if (key && location.hash.length > 1) {
  key.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
for (const field of document.querySelectorAll(".copy")) field.addEventListener("focus", () => field.select());

// Keys move and open; none of them changes anything.
const hint = document.querySelector(".keys");
if (hint && seen) hint.hidden = false;
let going = false;
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea, select")) return;
  const pressed = e.key.toLowerCase();
  if (going) {
    going = false;
    const to = { q: "/", a: "/approvals", r: "/runs", i: "/identities" }[pressed];
    if (to) { e.preventDefault(); location.href = to; }
    return;
  }
  if (pressed === "g") { going = true; return; }
  if (pressed === "/") {
    const field = document.querySelector("[data-filter]");
    if (field) { e.preventDefault(); field.focus(); }
    return;
  }
  if (pressed === "j" || pressed === "k") {
    const rows = [...document.querySelectorAll("[data-row] .go")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? (pressed === "j" ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + (pressed === "j" ? 1 : -1)));
    e.preventDefault();
    rows[next].focus();
    rows[next].scrollIntoView({ block: "nearest" });
  }
});
