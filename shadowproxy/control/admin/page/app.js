import { tellRuns } from "./runs.js";
import { tellTests } from "./tenancy.js";
import { count, ms, row, share } from "./text.js";
import { tell, WORST_FIRST } from "./verdict.js";

// The token lives in this variable alone: no cookie and no storage that another page or a later visit could use.
let token = "";
let timer = 0;

// What /api/v1/verdict said last, by route and mirror, and when it may be asked again: a verdict costs the proxy more than counts do.
let verdicts = new Map();
let nextVerdicts = 0;
let nextRuns = 0;

const EVERY_MS = 2000;
const VERDICTS_EVERY_MS = 4000;
const VERDICTS_REST = 20;
const QUANTILES = ["p50", "p90", "p99", "p999"];
const at = (id) => document.getElementById(id);
const nameOf = (one) => JSON.stringify([one.route, one.mirror]);

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
  const verdict = verdicts.get(nameOf(mirror));
  if (verdict) tell(part, verdict);
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
  const said = new Set([...verdicts.values()].map((verdict) => verdict.verdict));
  const worst = WORST_FIRST.find((outcome) => said.has(outcome));
  document.title = worst ? `${worst} · shadowproxy` : "shadowproxy";
}

const ask = (path) => fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit" });

// Without verdicts the page shows counts: an answer that cannot be had leaves none behind that is old.
async function askVerdicts() {
  const asked = performance.now();
  if (asked < nextVerdicts) return;
  try {
    const answer = await ask("/api/v1/verdict");
    verdicts = new Map(answer.ok ? (await answer.json()).verdicts.map((one) => [nameOf(one), one]) : []);
  } catch {
    verdicts = new Map();
  }
  const now = performance.now();
  nextVerdicts = now + Math.max(VERDICTS_EVERY_MS, VERDICTS_REST * (now - asked));
}

// Test traffic is shown whole or not at all: counts that are old would look like a law that holds.
async function showTests() {
  const answers = await Promise.all([ask("/api/v1/status"), ask("/api/v1/sinks")]);
  const isKnown = answers.every((answer) => answer.ok);
  const made = isKnown ? tellTests(at("tenancy").content.cloneNode(true), ...(await Promise.all(answers.map((answer) => answer.json())))) : null;
  at("tests").replaceChildren(...(made === null ? [] : [made]));
}

// As test traffic: a state that is old could be that of a fault which has ended, or begun, since.
async function showRuns() {
  if (performance.now() < nextRuns) return;
  nextRuns = performance.now() + VERDICTS_EVERY_MS;
  const answers = await Promise.all([ask("/api/v1/experiments"), ask("/api/v1/rollouts")]);
  const isKnown = answers.every((answer) => answer.ok);
  const made = isKnown ? tellRuns(at("running").content.cloneNode(true), ...(await Promise.all(answers.map((answer) => answer.json())))) : null;
  at("runs").replaceChildren(...(made === null ? [] : [made]));
}

function lock(problem) {
  token = "";
  verdicts = new Map();
  nextVerdicts = nextRuns = 0;
  at("login").hidden = false;
  at("mirrors").replaceChildren();
  at("runs").replaceChildren();
  at("tests").replaceChildren();
  at("problem").textContent = problem;
}

async function refresh() {
  try {
    const answer = await ask("/api/v1/compare");
    if (answer.status === 401 || answer.status === 429) {
      lock(answer.status === 401 ? "That token is not right." : "Too many wrong tokens: wait a minute.");
      return;
    }
    if (!answer.ok) throw new Error(`the proxy answered ${answer.status}`);
    const compared = await answer.json();
    await askVerdicts();
    at("login").hidden = true;
    show(compared);
    await showRuns();
    await showTests();
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
