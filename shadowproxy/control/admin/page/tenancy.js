// Test traffic: where tagged writes went and whether that adds up, the ledger, the sinks, and who loses the tag.

import { count, listed, row, size } from "./text.js";

const FATES = ["sunk", "partitioned", "refused", "passed", "lost"];
const SERVICES_SHOWN = 10;

const sum = (counts) => Object.values(counts).reduce((total, n) => total + n, 0);
const isUp = (house, sink) => house.pid !== null && sink.problem === null;

function alarms(status, house) {
  const { ledger, leaks } = status;
  const found = [];
  if (!ledger.is_up) found.push(`The ledger does not work, so tagged writes are answered 503: ${ledger.problem}`);
  for (const [route, law] of Object.entries(status.tests)) if (!law.is_conserved) found.push(`The counters of route ${route} do not add up.`);
  for (const sink of house.sinks) {
    if (!isUp(house, sink)) found.push(`Sink ${sink.name} is down: ${sink.problem ?? house.problem ?? "its process is being started"}`);
  }
  if (leaks.total) found.push(`Calls of tagged traces that had lost their tag: ${count(leaks.total)}`);
  if (ledger.removed_unscrubbed) found.push(`Writes that left the full ledger before they were undone: ${count(ledger.removed_unscrubbed)}`);
  if (ledger.set_aside) found.push(`A corrupt ledger was set aside: ${ledger.set_aside}`);
  return found;
}

function ledgerLine(ledger) {
  const parts = [
    `ledger ${ledger.is_up ? "up" : "DOWN"}`, `${count(ledger.recorded)} writes recorded`, `${count(ledger.refused)} refused for want of a row`,
    `${count(ledger.waiting)} waiting`, size(ledger.bytes),
  ];
  return parts.join(" · ");
}

function writes(body, tests) {
  for (const [route, law] of tests) {
    const made = row(body, route, [law.seen, ...FATES.map((fate) => law.fates[fate] ?? 0), law.pending].map(count));
    const verdict = made.appendChild(document.createElement("td"));
    verdict.textContent = law.is_conserved ? "adds up" : "DOES NOT ADD UP";
    verdict.className = law.is_conserved ? "good" : "bad";
  }
}

function sinks(body, house) {
  for (const sink of house.sinks) {
    const statuses = Object.entries(sink.requests).map(([status, n]) => `${status}: ${count(n)}`);
    const made = row(body, sink.name, [count(sum(sink.requests)), statuses.join(", ") || "none yet", count(sink.items), isUp(house, sink) ? "up" : "DOWN"]);
    if (!isUp(house, sink)) made.className = "bad";
  }
}

function leaked(body, leaks) {
  for (const one of leaks.blamed.slice(0, SERVICES_SHOWN)) row(body, one.service, [count(one.calls), count(one.consequences)]);
}

// Fills `made`, a copy of the template of test traffic; null when no route, sink or service has anything to tell.
export function tellTests(made, status, house) {
  const part = (name) => made.querySelector(`[data-at="${name}"]`);
  const tests = Object.entries(status.tests).filter(([, law]) => law.seen || law.pending);
  const has = { writes: tests.length, sinks: house.sinks.length, leaks: status.leaks.blamed.length };
  const found = alarms(status, house);
  if (!found.length && !has.writes && !has.sinks && !has.leaks) return null;
  listed(part("alarms"), found, null);
  part("ledger").textContent = ledgerLine(status.ledger);
  writes(part("writes"), tests);
  sinks(part("sinks"), house);
  leaked(part("leaks"), status.leaks);
  for (const name of ["writes", "sinks", "leaks"]) part(name).parentElement.hidden = !has[name];
  part("restarts").textContent = house.restarts ? `, restarted ${count(house.restarts)} ×` : "";
  const commands = ["shadowproxy ledger list", "shadowproxy ledger check"];
  if (status.leaks.total) commands.push("shadowproxy leaks");
  listed(part("commands"), commands, "code");
  return made;
}
