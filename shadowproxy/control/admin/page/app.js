"use strict";

// The token lives in this variable alone: no cookie and no storage that another page or a later visit could use.
let token = "";
let timer = 0;

const EVERY_MS = 2000;
const QUANTILES = ["p50", "p90", "p99", "p999"];
const at = (id) => document.getElementById(id);

// Everything from the proxy is set as text, never as markup: it can hold what strangers sent.
function cell(row, text, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (kind === "th") made.scope = "row";
  row.append(made);
  return made;
}

function row(body, head, values) {
  const made = document.createElement("tr");
  cell(made, head, "th");
  for (const value of values) cell(made, value);
  body.append(made);
  return made;
}

const ms = (seconds) => (seconds === null ? "–" : (seconds * 1000).toFixed(seconds < 0.1 ? 2 : 0));
const share = (value) => (value === null ? "–" : (value * 100).toFixed(value < 0.01 ? 3 : 1) + " %");
const count = (value) => value.toLocaleString("en");

function summary(mirror) {
  const bodies = mirror.bodies.equal + mirror.bodies.different;
  const parts = [
    `${count(mirror.pairs)} pairs of ${count(mirror.eligible)} eligible requests (${share(mirror.coverage)})`,
    `errors live ${share(mirror.errors.live.rate)}, shadow ${share(mirror.errors.shadow.rate)}`,
    `bodies different ${bodies ? share(mirror.bodies.different / bodies) : "–"}`,
    `live penalty p99 ${ms(mirror.live_penalty.p99)} ms`,
  ];
  if (!mirror.is_conserved) parts.push("THE COUNTERS DO NOT ADD UP");
  return parts.join(" · ");
}

function article(mirror) {
  const made = at("mirror").content.cloneNode(true);
  const part = (name) => made.querySelector(`[data-at="${name}"]`);
  part("route").textContent = mirror.route;
  part("mirror").textContent = mirror.mirror;
  part("summary").textContent = summary(mirror);
  for (const byte of ["first", "last"]) {
    for (const side of ["live", "shadow"]) {
      row(part("latency"), `${side}, ${byte} byte`, QUANTILES.map((name) => ms(mirror.latency[side][byte][name])));
    }
  }
  row(part("latency"), "live penalty", QUANTILES.map((name) => ms(mirror.live_penalty[name])));
  for (const one of mirror.matrix.slice(0, 8)) {
    const made = row(part("matrix"), `${one.live} → ${one.shadow}`, [count(one.count)]);
    if (one.live !== one.shadow) made.className = "bad";
  }
  for (const [fate, n] of Object.entries(mirror.fates).sort((a, b) => b[1] - a[1])) row(part("fates"), fate, [count(n)]);
  row(part("fates"), "pending", [count(mirror.pending)]);
  return made;
}

function show(compared) {
  at("state").textContent = `generation ${compared.generation} · ${compared.time}` + (compared.is_killed ? " · KILL SWITCH ON: nothing is mirrored" : "");
  at("mirrors").replaceChildren(...compared.mirrors.map(article));
  if (!compared.mirrors.length) at("state").textContent += " · no route has a mirror";
}

async function refresh() {
  try {
    const answer = await fetch("/api/v1/compare", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit" });
    if (answer.status === 401 || answer.status === 429) {
      token = "";
      at("login").hidden = false;
      at("mirrors").replaceChildren();
      at("problem").textContent = answer.status === 401 ? "That token is not right." : "Too many wrong tokens: wait a minute.";
      return;
    }
    if (!answer.ok) throw new Error(`the proxy answered ${answer.status}`);
    at("login").hidden = true;
    show(await answer.json());
  } catch (error) {
    at("state").textContent = `not reachable: ${error.message}`;
  }
  timer = setTimeout(refresh, EVERY_MS);
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  token = at("token").value.trim();
  at("token").value = "";
  at("problem").textContent = "";
  refresh();
});
